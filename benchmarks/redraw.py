"""The explorer: how long the day takes to be drawn again after one knob was turned, its arrivals made before.

Every step of every knob, from where the knobs stand at first; each once before it counts, so that arrivals of its load
are kept. CPU time and wall time: median, and the slowest settings.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import get_args

from capsim.engine.fidelity import Fidelity
from capsim.show.explorer import Settings
from capsim.show.explorer.engine import explored
from capsim.show.explorer.settings import SETTINGS

SLOWEST = 6


def changes() -> list[tuple[str, Settings]]:
    """All settings that differ from the first ones in one knob."""
    first = Settings()
    turned = [(f"{knob.name} {step}", Settings(**{knob.name: step})) for knob in SETTINGS for step in knob.steps]
    return [(name, settings) for name, settings in turned if settings != first]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fidelity", choices=get_args(Fidelity), nargs="*", default=get_args(Fidelity))
    for fidelity in parser.parse_args().fidelity:
        cpu_ms, wall_ms = {}, {}
        for name, settings in changes():
            explored(settings, fidelity=fidelity)
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            explored(settings, fidelity=fidelity)
            cpu_ms[name] = 1e3 * (time.process_time() - cpu_s)
            wall_ms[name] = 1e3 * (time.perf_counter() - wall_s)
        slowest = sorted(cpu_ms, key=lambda name: -cpu_ms[name])[:SLOWEST]
        print(
            f"{fidelity}: median of {len(cpu_ms)} changes {statistics.median(cpu_ms.values()):.0f} ms of CPU, "
            f"{statistics.median(wall_ms.values()):.0f} ms wall; slowest: "
            + ", ".join(f"{name} {cpu_ms[name]:.0f} ms" for name in slowest),
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
