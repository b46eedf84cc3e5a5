"""Findings: triggers are where arithmetic says, every schedule replays, and what must not be found is not found."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from capsim.cli import findings as command
from capsim.cli import main
from capsim.detectors import KINDS, Facts, detect
from capsim.errors import CapsimError
from capsim.findings import dumps, schema_text
from capsim.findings.document import Findings
from capsim.findings.page import answer, write
from capsim.findings.schedule import BY_NAME, DISTURBANCES, SLOWER, Bench, evenly, played
from capsim.findings.search import bisect, triggers
from capsim.findings.words import WORDS
from capsim.paths import data_dir
from capsim.play import play
from capsim.scenario import load, loads
from capsim.slo import SloSpec, read
from capsim.workload import load_of

STALL, FAST, SLOW = DISTURBANCES[0], BY_NAME["outage that fails fast"], BY_NAME["outage that fails slowly"]


def first(found, kind, part="events"):
    return next((t for t in found if (t.kind, t.part) == (kind, part)), None)


@pytest.mark.parametrize(("rate_hz", "exact_s"), [(2000, 0.501), (500, 2.001), (100, 10.001), (20, 50.001)])
def test_the_wedge_begins_where_a_thousand_items_come_during_a_flush(rate_hz, exact_s):
    short = replace(STALL, most=4 * exact_s)
    found = first(triggers(Bench(load("after"), {"events": rate_hz}), short, "events"), "wedge")
    assert found.size == pytest.approx(exact_s, rel=0.01)
    assert found.precision <= 0.01


@pytest.mark.parametrize("name", ["fixed", "before"])
def test_no_stall_wedges_the_later_writers_or_those_without_a_cap(name):
    bench = Bench(load(name), {"events": 100})
    for size in (9.0, 10.5, 20.0, 60.0):
        assert not bench.play(STALL, size, "events").has("wedge", "events")


@pytest.mark.parametrize(("rate_hz", "lost"), [(20, 1_200), (100, 6_000)])
def test_an_outage_of_a_minute_loses_all_of_it_within_a_batch(rate_hz, lost):
    outcome = Bench(load("after"), {"events": rate_hz}).play(FAST, 60.0, "events")
    assert outcome.has("batches given up", "events").amount == pytest.approx(lost, abs=100)


def test_both_tries_of_a_flush_count_towards_the_wedge():
    found = first(triggers(Bench(load("after"), {"events": 100}), SLOW, "events"), "wedge")
    assert 2 * found.size == pytest.approx(10.001, rel=0.01)


def test_heartbeats_one_by_one_grow_from_rate_times_latency_1():
    short = replace(SLOWER, least=26.0, most=45.0)
    every = triggers(Bench(load("after"), {"heartbeats": 30}), short, "heartbeats")
    found = first(every, "longer flushes", "heartbeats")
    assert 30 * found.size / 1_000 == pytest.approx(1, rel=0.01)


def test_items_are_stuck_in_both_writers_below_a_batch_in_a_flush():
    for name in ("after", "fixed"):
        bench = Bench(load(name), {"events": 5})
        assert bench.play(STALL, 8.0, "events").has("stuck items", "events"), name
        assert not bench.play(STALL, 3.0, "events").has("stuck items", "events"), name


def test_a_schedule_replays_from_its_text():
    bench = Bench(load("after"), {"events": 500})
    outcome = bench.play(STALL, 2.2, "events")
    from capsim.scenario import dumps as text

    again = loads(text(outcome.scenario))
    assert played(again, outcome.at_s, outcome.size).detections == outcome.detections
    assert outcome.has("wedge", "events")


def test_a_deploy_without_shutdown_loses_and_one_with_it_does_not():
    deploy = BY_NAME["deploy"]
    rates = {"events": 50.0}
    assert Bench(load("after-as-deployed"), rates).play(deploy, 1.0, "events").has("shutdown loss", "events")
    assert not Bench(load("after"), rates).play(deploy, 1.0, "events").has("shutdown loss", "events")


@pytest.mark.parametrize("number", range(6))
def test_a_healthy_random_load_raises_no_alarm(number):
    assert _alarms(number) == []


@pytest.mark.slow
def test_false_alarms_in_200_healthy_scenarios_are_at_most_1_percent():
    assert sum(bool(_alarms(number)) for number in range(200)) <= 2


def _alarms(number):
    """A database that answers, and a load that the writers can bear: nothing is wrong."""
    import numpy as np

    draw = np.random.default_rng([8, number])
    rate_hz = float(np.exp(draw.uniform(np.log(2), np.log(150))))
    scenario = load(("after", "fixed", "before")[number % 3]).replace("database.update.call_ms", 1.0)
    load_ = {"trace": None, "rate_hz": rate_hz, "duration_s": 180.0}
    scenario = scenario.replace("workload", scenario.workload.model_dump() | load_)
    scenario = scenario.replace("server.lifecycle", ())
    scenario = scenario.replace("database.insert.call_ms", float(draw.uniform(5, 40)))
    return _detected(scenario, number)


def _detected(scenario, number=0):
    return detect(Facts(*play(scenario, load_of(scenario, None, number), seed=number, replicate=0, resolution_s=1.0,
                              keep=True, progress=None)))  # fmt: skip


PLANTED = ("wedge", "batches given up", "shutdown loss", "stuck items", "longer flushes")


def _planted(number):
    """A scenario with one defect of a kind, at random sizes beyond its trigger, and whether it was found."""
    import numpy as np

    draw = np.random.default_rng([9, number])
    kind, part = PLANTED[number % len(PLANTED)], "events"
    rate_hz, changes = float(draw.uniform(30, 300)), {}
    if kind == "wedge":
        changes = {"database.faults": [
            {"kind": "slow", "duration_ms": 1_000 * draw.uniform(1.2, 2) * 1_000 / rate_hz, "from_s": 20, "to_s": 40}]}
    elif kind == "batches given up":
        fault = {"kind": "fail", "duration_ms": 1, "from_s": 20, "to_s": draw.uniform(30, 60)}
        changes = {"database.faults": [fault]}
    elif kind == "shutdown loss":
        changes = {"server.lifecycle": [{"kind": "crash", "at_s": draw.uniform(20, 60)}]}
    elif kind == "stuck items":
        rate_hz = float(draw.uniform(1, 6))
        changes = {"database.faults": [{"kind": "slow", "duration_ms": 7_000, "from_s": 20, "to_s": 60}]}
    else:
        part = "heartbeats"
        rate_hz = float(draw.uniform(20, 60))
        changes = {"database.update.call_ms": draw.uniform(1.05, 1.2) * 1_000 / rate_hz,
                   "database.update.distribution": "constant"}  # fmt: skip
    scenario = evenly(load("after"), {part: rate_hz}, 240.0)
    for knob, value in changes.items():
        scenario = scenario.replace(knob, value)
    return any((d.kind, d.part) == (kind, part) for d in _detected(scenario))


@pytest.mark.parametrize("number", range(5))
def test_a_planted_defect_is_found(number):
    assert _planted(number), PLANTED[number]


@pytest.mark.slow
def test_of_200_planted_defects_95_percent_are_found():
    assert sum(map(_planted, range(200))) >= 190


def test_bisection_keeps_its_promise():
    low, high = bisect(1.0, 512.0, lambda size: size >= 77.7)
    assert low < 77.7 <= high
    assert (high - low) / high <= 0.005


def test_every_kind_has_words_and_the_command_line_knows_them():
    assert set(KINDS) <= set(WORDS)
    assert set(command.KINDS) == set(WORDS)


# --- targets ------------------------------------------------------------------------------------------------


def test_the_seeds_targets_are_all_there():
    spec = read("seed")
    limits = {(t.metric, t.most, t.least) for t in spec.target}
    assert {("server_rss_mean", 512, None), ("server_rss_peak", 800, None), ("server_heap_mean", 200, None),
            ("pool_open_peak", 10, None), ("items_lost_share", 0.01, None), ("bill_saving", None, 0.6)} <= limits  # fmt: skip


def test_contradicting_targets_are_refused_in_one_line(tmp_path):
    file = tmp_path / "slo.toml"
    target = '[[target]]\ntarget = "{0}"\nmetric = "server_rss_mean"\nunit = "MiB"\n{1}\n'
    text = target.format("a", "most = 100.0") + target.format("b", "least = 200.0")
    file.write_text('name = "x"\n' + text, encoding="utf-8")
    with pytest.raises(CapsimError, match=r"contradict each other.*at most 100.*at least 200"):
        read(str(file))
    assert SloSpec.model_validate({"name": "x", "target": []}).target == ()


def test_an_absent_file_of_targets_is_one_line_and_exit_2(tmp_path):
    result = CliRunner().invoke(main, ["findings", "after", "--slo", str(tmp_path / "none.toml")])
    assert result.exit_code == 2
    assert "cannot be read" in result.output


# --- the command ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A whole search of a small scenario, by the command line."""
    folder = tmp_path_factory.mktemp("findings")
    (folder / "x.toml").write_text(
        'schema_version = 1\nname = "x"\n[workload]\nrate_hz = 150\nduration_s = 60\n'
        '[workload.mix]\nevents = 1.0\nrevenue = 0.0\nheartbeats = 0.0\n'
        '[billing]\nplan = "hobby"\nfrom = "2026-02-03"\n',
        encoding="utf-8",
    )
    (folder / "slo.toml").write_text(
        'name = "y"\n[[target]]\ntarget = "memory"\nmetric = "server_rss_mean"\nwindow = "trace"\nmost = 512.0\n'
        'unit = "MiB"\n',
        encoding="utf-8",
    )
    arguments = ["findings", str(folder / "x.toml"), "--slo", str(folder / "slo.toml"), "--out", str(folder / "out")]
    result = CliRunner().invoke(main, [*arguments, "--json", "--fail-on", "wedge"])
    return folder, result


@pytest.mark.slow
def test_the_command_reports_and_fails_on_what_it_was_told(found):
    folder, result = found
    assert result.exit_code == 1, result.output
    document = Findings.model_validate_json(result.stdout)
    assert document.targets[0].met
    wedge = next(f for f in document.findings if (f.kind, f.disturbance) == ("wedge", "stall"))
    assert wedge.trigger == pytest.approx(1_000 / 150, rel=0.02)
    assert wedge.remedies[0].holds_to > 0
    assert dumps(document) == (folder / "out" / "findings.json").read_text(encoding="utf-8")
    page = (folder / "out" / "findings.html").read_text(encoding="utf-8")
    assert answer(document) in page
    for finding in document.findings:
        if finding.schedule:
            loads(finding.schedule)


def test_a_page_without_findings_says_so(tmp_path):
    empty = {"findings": (), "targets": (), "provenance": {}}
    nothing = Findings(capsim_version="0", name="x", title="", peak_hz=1.0, seed=0, **empty)
    write(nothing, tmp_path)
    assert "None." in (tmp_path / "findings.html").read_text(encoding="utf-8")


def test_the_schema_in_the_repository_is_the_one_of_the_code():
    path = data_dir() / "schema" / "findings.schema.json"
    assert path.read_text(encoding="utf-8") == schema_text()
    assert json.loads(schema_text())["title"] == "capsim findings document"
