"""Every arrival has exactly one outcome, and the outcomes are those of the accounting."""

from __future__ import annotations

import pytest

from capsim.results.run import simulate
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS


def stalled(cap: int = 300, **writers: object) -> Scenario:
    return Scenario.model_validate({
        "name": "stalled",
        "workload": {"rate_hz": 40, "duration_s": 5400, "live_sessions": 30},
        "server": {"writers": {stream: {"buffer_cap_rows": cap, **writers} for stream in STREAMS}},
        "database": {
            "faults": [
                {"kind": "stall", "from_s": 600, "to_s": 640},
                {"kind": "fail", "from_s": 1200, "to_s": 1210, "duration_ms": 1},
            ]
        },
        "billing": {"from": "2026-02-03"},
    })  # fmt: skip


@pytest.mark.parametrize("cap", [20, 300])
@pytest.mark.parametrize("semantics", ["seed", "fixed"])
def test_outcomes_of_single_arrivals_add_up_to_the_accounting(semantics: str, cap: int) -> None:
    run = simulate(stalled(cap, semantics=semantics), month=False, arrivals=True)

    assert run.arrivals is not None
    counted = run.arrivals.groupby(["writer", "outcome"]).size().unstack(fill_value=0)
    for row in run.accounting().to_dict("records"):
        own = counted.loc[row["writer"]].to_dict()
        for fate in ("coalesced", "buffered", "in_flight", "dropped_cap", "dropped_failed"):
            assert own.get(fate, 0) == row[fate], (row["writer"], fate)
        assert own.get("written", 0) + own.get("unknown", 0) == row["written"] + row["uncounted"]
        assert sum(own.values()) == row["arrived"]


def test_no_one_waits_longer_than_the_delay_while_the_database_is_quick() -> None:
    run = simulate(stalled().replace("database.faults", []), month=False, arrivals=True)

    assert run.arrivals is not None
    assert 0 <= run.arrivals.wait_us.max() <= 5_000_000
    assert set(run.arrivals.outcome) <= {"written", "buffered", "in_flight"}
