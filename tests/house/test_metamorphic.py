"""What must change, and what must not, when the question changes: rules between two answers, without knowing either."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from decimal import Decimal
from pathlib import Path

import pytest

from capsim.cost.bill import invoice
from capsim.cost.usage import Quantity, Usage
from capsim.results.run import simulate
from capsim.scenario.prices import plan_on, prices_on
from capsim.scenario.scenario import Scenario
from capsim.workload import read_trace

END_S = 180


def server(runs, **changes) -> Scenario:
    """Three writers with a cap of 200 rows, and a database that stands still from 60 s to 75 s."""
    writer = {"semantics": "fixed", "batch_rows": 100, "delay_ms": 5_000, "buffer_cap_rows": 200}
    data = {
        "name": "metamorphic",
        "workload": {"runs": runs, "duration_s": END_S},
        "server": {"writers": dict.fromkeys(("events", "revenue", "heartbeats"), writer)},
        "database": {"faults": [{"kind": "stall", "from_s": 60, "to_s": 75}]},
        "billing": {"from": "2026-02-03"},
    }
    found = Scenario.model_validate(data)
    for path, value in changes.items():
        found = found.replace(path, value)
    return found


def even(rate_hz: int, stream: str = "events") -> dict:
    return {"stream": stream, "at_ms": 0, "count": rate_hz * END_S, "rate_hz": rate_hz}


def lost(scenario: Scenario) -> int:
    values = simulate(scenario, seed=3).summary().set_index("metric")["value"]
    return int(values["items_dropped_at_cap"] + values["items_dropped_by_failure"])


def test_more_load_never_loses_fewer():
    """Each load holds every arrival of the one before, at the same instant; the stall outlasts every buffer."""
    losses = [lost(server([even(rate_hz)])) for rate_hz in (5, 10, 20, 40, 80)]

    assert losses == sorted(losses)
    assert losses[0] == 0 < losses[-1]


def test_the_order_in_which_streams_are_written_down_changes_nothing():
    """Items of different streams that come in one instant have an order of their own, not the file's."""
    runs = [even(40, stream) for stream in ("events", "revenue", "heartbeats")]

    found = [simulate(server(order), seed=3) for order in (runs, runs[::-1], [runs[1], runs[2], runs[0]])]

    assert found[0].summary().set_index("metric")["value"]["items_dropped_at_cap"] > 0
    for other in found[1:]:
        assert found[0].samples.equals(other.samples)
        assert found[0].summary().equals(other.summary())


@pytest.mark.parametrize("seed", range(5))
def test_a_log_cut_in_two_and_joined_or_shuffled_is_the_same_load(tmp_path: Path, seed):
    rng = random.Random(seed)
    stamps = sorted(rng.randrange(0, 86_400) for _ in range(300))
    lines = [f"2026-01-05T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}Z\n" for s in stamps]
    cut = rng.randrange(1, 299)

    def times(name: str, some: list[str]) -> list[int]:
        (tmp_path / name).write_text("time\n" + "".join(some))
        return read_trace(tmp_path / name).times_us.tolist()

    whole = times("whole.csv", lines)
    assert times("a.csv", lines[:cut]) + times("b.csv", lines[cut:]) == whole
    assert times("shuffled.csv", rng.sample(lines, len(lines))) == whole


def test_double_prices_double_every_line_of_use():
    """Amounts of whole cents, so that the rounding of a line takes no part."""
    day = dt.date(2026, 2, 3)
    prices, plan = prices_on(day), plan_on("hobby", day)
    usage = Usage(service="server", memory_gb_minutes=Quantity(43_200), egress_gb=Quantity(100))
    dear = {name: 2 * value for name, value in prices.row if isinstance(value, Decimal)}
    doubled = dataclasses.replace(prices, row=prices.row.model_copy(update=dear))

    def amounts(at) -> dict[str, Decimal]:
        return {line.line: line.amount_usd for line in invoice([usage], at, plan) if line.line in ("memory", "egress")}

    assert amounts(prices) == {"memory": Decimal("10.00"), "egress": Decimal("5.00")}
    assert amounts(doubled) == {"memory": Decimal("20.00"), "egress": Decimal("10.00")}
