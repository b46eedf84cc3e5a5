"""Which recorded runs the constants of the memory model were chosen on; every other run is held out.

Held out means that no constant was chosen for it. The errors of the stand-in's runs were in view while the model was
built (docs/memory.md), so the only runs that it had never seen are those measured afterwards.
"""

from __future__ import annotations

_LEAKS = "allocation, off-heap memory and CPU share of the leaking program"

FITTED: dict[str, str] = {
    "r200_none": "collector speed, new space",
    "r500_none": "collector speed, new space, pages kept",
    "r1000_none": "collector speed, pages kept",
    "r500_live45_64": "marking near the cap",
    "r500_live150_none": "pages kept of a large heap",
    "stall2_cap": "pages kept",
    **dict.fromkeys(
        (
            "leak_64_1000",
            "leak_64_5000",
            "leak_64_20000",
            "leak_128_5000",
            "leak_128_20000",
            "leak_256_5000",
            "leak_256_20000",
            "leak_512_10000",
            "leak_512_20000",
            "leakq_64_1500",
            "leakq_256_5000",
            "leaknone_15000",
        ),
        _LEAKS,
    ),
    "kit20_500": "allocation, live bytes and off-heap memory of the kit's server, Node 20",
    "kit24_500": "the same, Node 24; growth of its new space",
    "kit24_350_stall20": "growth of new space, Node 24",
    "kit24_live120_192": "pages of new space that stay, Node 24",
    "kit24_live60_160": "pages of new space that loading a live set touches, Node 24",
    **{f"own_r{rate}_none": "collector speed, from V8's own trace" for rate in (200, 350, 500, 1000)},
    "own_r350_stall": "spread of the collector's speed",
    "own_r500_live29_64": "marking near the cap",
    "own_r500_live35_64": "marking near the cap",
}
"""Run and what it served for; names as in `tests/data/memory_runs`."""
