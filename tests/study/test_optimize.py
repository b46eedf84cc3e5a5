"""The search for the cheapest configuration: against brute force, what is in the way, and what it hands out."""

from __future__ import annotations

import json
from itertools import product

import pytest
from click.testing import CliRunner

from capsim.base.errors import CapsimError
from capsim.base.paths import data_dir
from capsim.base.workers import Workers
from capsim.cli import main
from capsim.scenario.file import load, loads
from capsim.scenario.workload import STREAMS
from capsim.show.optimize_page import answer, overview, write
from capsim.study.optimize import Knob, Optimum, optimize, schema_text, space
from capsim.study.optimize import search as module
from capsim.study.optimize.candidate import on_the_load
from capsim.study.optimize.search import CENT_USD, Search
from capsim.study.optimize.space import AS_IT_IS, made, with_own
from capsim.study.slo import SloSpec

SLO = SloSpec.model_validate({
    "name": "small", "loss_share_most": 0.01,
    "target": [{"target": "memory, peak", "metric": "server_rss_peak", "most": 2_000.0, "unit": "MiB"}],
})  # fmt: skip
KNOBS = (
    Knob("buffer cap [rows]", tuple(f"server.writers.{s}.buffer_cap_rows" for s in STREAMS), (500, 1_000, 2_000)),
    Knob("memory limit of the server [MiB]", ("server.container.memory_limit_mib",), (1_024, 2_048, "plan")),
    Knob("plan", ("billing.plan",), ("hobby", "pro")),
)  # fmt: skip


@pytest.fixture
def small():
    """An hour of a few requests, with a launch in its envelope; 300 MiB of data, so that memory costs something."""
    scenario = load("recommended").replace("workload", {"rate_hz": 0.2, "duration_s": 3_600.0})
    scenario = scenario.replace("server.lifecycle", ()).replace("server.node.loaded_mib", 300.0)
    return scenario.replace("stress", {"load_factor": 200.0, "stall_s": 30.0, "outage_s": 0.0, "deploys": 0})


def search(scenario, slo=SLO, rounds=2, knobs=KNOBS):
    found = Search(scenario, slo, None, knobs, 0, 1, None)
    with Workers(1) as found.workers:
        found.propose(rounds)
        found.tidy()
    return found


def test_it_finds_what_brute_force_finds(small):
    found = search(small)
    every = {}
    for numbers in product(*(range(len(knob.values)) for knob in found.knobs)):
        choice = dict(zip([knob.name for knob in found.knobs], numbers, strict=True))
        every[numbers] = on_the_load(made(small, found.knobs, choice), SLO, None, None, 0)
    allowed = [figures.cost_usd for figures in every.values() if not figures.missed]
    best = found.seen[tuple(found.best()[0].values())]
    assert best.cost_usd == pytest.approx(min(allowed), abs=CENT_USD)
    assert 0 < len(allowed) < len(every)  # some miss the targets, and some that meet them cost more
    assert max(allowed) > min(allowed) + CENT_USD
    assert len(found.seen) < len(every)


def test_the_answer_is_the_same_for_any_number_of_workers(small):
    one = search(small, rounds=1)
    two = Search(small, SLO, None, KNOBS, 0, 1, None)
    with Workers(2) as two.workers:
        two.propose(1)
        two.tidy()
    assert one.seen == two.seen and one.best() == two.best()


def test_a_change_that_nothing_needs_is_taken_back(small):
    slo = SloSpec(name="easy", target=SLO.target)
    choice = search(small, slo).best()[0]
    # Without a limit on the loss, no cap is better than another.
    assert choice["buffer cap [rows]"] == 0


def test_the_scenarios_own_value_is_always_among_those_tried():
    knob, own = with_own(KNOBS[0], load("recommended"))
    assert (knob.values[own], knob.changes(own)) == (AS_IT_IS, {})
    knob, own = with_own(KNOBS[0], load("after"))
    assert knob.values[own] == 1_000


def test_knobs_are_those_of_parts_that_have_work():
    names = {knob.name for knob in space(load("after"))}
    assert "response cache" in names and "cleanup interval [s]" not in names
    sessions = load("after").replace("workload.sessions", {}).replace("workload.queries_hz", 0.0)
    names = {knob.name for knob in space(sessions)}
    assert "cleanup interval [s]" in names and "response cache" not in names


def test_every_knob_turns_something_in_every_bundled_scenario():
    for name in ("before", "after", "later", "recommended"):
        scenario = load(name).replace("workload.sessions", {})
        for knob in space(scenario):
            whole, own = with_own(knob, scenario)
            others = [made(scenario, [whole], {knob.name: n}) for n in range(len(whole.values)) if n != own]
            assert others and all(other != scenario for other in others), knob.name


@pytest.fixture
def short_months(monkeypatch):
    """The load once in place of a month, so that a whole search is a matter of seconds."""
    monkeypatch.setattr(module, "in_a_month", lambda s, slo, usd, trace, seed, _: on_the_load(s, slo, usd, trace, seed))


def test_a_whole_search_says_what_it_found_and_hands_out_the_scenario(small, short_months, tmp_path):
    found = optimize(small, SLO, knobs=KNOBS, rounds=2, workers=1)
    assert found.best is not None and not found.best.missed
    assert (found.chance.seen, found.chance.runs) == (1, 1)
    assert found.best.cost_usd <= found.own.cost_usd
    best = loads(found.scenario)
    assert best.replace("server", small.server.model_dump()).database == small.database
    write(found, tmp_path)
    page = (tmp_path / "optimum.html").read_text(encoding="utf-8")
    assert "plots/front.png" in page and (tmp_path / "plots" / "front.png").stat().st_size > 0
    assert loads((tmp_path / "best.toml").read_text(encoding="utf-8")) == best
    text = overview(found)
    assert "USD a month" in text
    assert text.count(" USD") == 2  # the bills of the answer and of the scenario as it is, and no other figure in USD
    own = next(point for point in found.cloud if not point.changes)
    assert own.cost_index == 100 and {point.cost_usd for point in (*found.cloud, *found.front)} == {None}
    assert Optimum.model_validate_json(found.model_dump_json()) == found
    for point in found.front:  # no other is as good in all three
        others = [o for o in found.cloud if o.changes != point.changes and not o.missed]
        assert not any(
            o.cost_index < point.cost_index - 1 and o.lost_share < point.lost_share and o.latency_s < point.latency_s
            for o in others
        )


def test_it_says_which_target_is_in_the_way(small, short_months):
    impossible = SloSpec.model_validate(SLO.model_dump() | {"target": [
        {"target": "memory, peak", "metric": "server_rss_peak", "most": 20.0, "unit": "MiB"},
        {"target": "requests", "metric": "requests", "least": 1.0, "unit": "requests"},
    ]})  # fmt: skip
    found = optimize(small, impossible, knobs=KNOBS, rounds=1, workers=1)
    assert found.best is None and found.scenario == ""
    assert [row.target for row in found.in_the_way] == ["memory, peak"]
    assert "In the way: memory, peak" in answer(found)


def test_without_the_extra_it_is_one_line(small, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(CapsimError, match=r"needs the extra 'optimize'"):
        search(small)


def test_a_target_that_cannot_be_is_refused_before_anything_is_simulated(tmp_path):
    file = tmp_path / "slo.toml"
    file.write_text('name = "y"\n[[target]]\ntarget = "m"\nmetric = "x"\nmost = 1.0\nunit = "MiB"\n', encoding="utf-8")
    result = CliRunner().invoke(main, ["optimize", "after", "--slo", str(file)])
    assert result.exit_code == 2 and "unknown metric" in result.output.splitlines()[0]


def test_the_schema_in_the_repository_is_the_one_of_the_code():
    path = data_dir() / "schema" / "optimum.schema.json"
    assert path.read_text(encoding="utf-8") == schema_text()
    assert json.loads(schema_text())["title"] == "capsim optimum document"
