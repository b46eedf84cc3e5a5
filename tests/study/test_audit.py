"""The audit: every claim of the plan is there, verdicts follow rules, what is needed is what arithmetic says."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

import capsim as cs
from capsim.base.errors import CapsimError
from capsim.base.paths import data_dir
from capsim.cli import main
from capsim.cost.bill import bill as billed
from capsim.memory.constants import PUBLISHED as value
from capsim.results.stress_test import stress
from capsim.scenario.plan import KNOBS
from capsim.show.audit_drift import drift
from capsim.show.audit_page import BEGIN, block, markdown, overview, texts, write
from capsim.study.audit import Audit, dumps, examine, load_audit, schema_text
from capsim.study.audit.break_even import Loads, first, solve
from capsim.study.audit.claims import ClaimsSpec, NeedSpec, read
from capsim.study.audit.figures import FIGURES, Played
from capsim.study.audit.figures import read as figure
from capsim.study.audit.variants import AFTER, BEFORE, CUMULATIVE, FAMILIES, ONE, OUT, STEPS, Side, family, scenario_of
from capsim.study.audit.verdict import Range, judge

KEPT = data_dir() / "audit"
ROOT = Path(__file__).parents[2]

# --- the claims -----------------------------------------------------------------------------------------------

# Lines of the plan that promise something: overview, impacts, results, what to watch, remedies, further steps, summary.
PROMISES = (10, 24, 43, 71, 84, 97, 122, 144, 166, 229, 239, 240, 241, 242, 243, 244, 250, 251, 270, 301, 323, 324, 325,
            329, 338, 339, 340, 341, 342, 378, 387, 392, 409, 419, 429, 443, 458, 474, 475, 477, 478, 509, 510, 511,
            512)  # fmt: skip


def test_every_promise_of_the_plan_is_a_claim() -> None:
    lines = set()
    for claim in read().claim:
        for first_, last in re.findall(r"\b(\d+)(?: to (\d+))?", claim.place.partition("line")[2]):
            lines |= set(range(int(first_), int(last or first_) + 1))

    assert set(PROMISES) <= lines


def test_the_figures_that_the_plan_names_are_those_of_the_claims() -> None:
    found = {c.id: (c.least, c.most) for c in read().claim}

    assert found["logger"] == (50, 100)
    assert found["event cap"] == found["revenue cap"] == found["heartbeat cap"] == (20, 50)
    assert found["cleanup"] == (10, 30)
    assert found["Redis client"] == (10, 20)
    assert found["pool"] == (200, 500)
    assert (found["baseline before"], found["baseline after"]) == ((1536, 2048), (300, 500))
    assert (found["peak before"], found["peak after"]) == ((4096, 5120), (800, 1024))
    assert (found["bill before"], found["bill after"]) == ((20, 50), (5, 10))


CLAIM = """[[claim]]
id = "{id}"
place = "x"
says = "x"
change = "logger"
figure = "{figure}"
unit = "MiB"
{range}
"""


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        (CLAIM.format(id="a", figure="server_rss_man", range="most = 1.0"), "claim a: .*no figure 'server_rss_man'"),
        (CLAIM.format(id="a", figure="total", range="most = 1.0"), "claim a: .*unit is 'MiB', but total is in USD"),
        (CLAIM.format(id="a", figure="server_rss_mean", range=""), "claim a: .*no range"),
        (2 * CLAIM.format(id="a", figure="server_rss_mean", range="most = 1.0"), "two claims 'a'"),
        (CLAIM.format(id="a", figure="server_rss_mean", range='most = "x"'), "claim a.most: .*number"),
        (CLAIM.format(id="a", figure="server_rss_mean", range="most = 1.0").replace("logger", "loger"), "loger"),
        ("[[claim]\n", "not TOML"),
    ],
)
def test_a_claim_that_makes_no_sense_is_one_line_that_names_it(tmp_path: Path, claims: str, says: str) -> None:
    file = tmp_path / "claims.toml"
    file.write_text('schema_version = 1\nsource = "x"\n' + claims, encoding="utf-8")

    with pytest.raises(CapsimError, match=says) as error:
        read(file)
    assert all(str(file) in problem and "\n" not in problem for problem in error.value.problems)


# --- the sides --------------------------------------------------------------------------------------------------


def test_all_steps_together_are_scenario_after() -> None:
    made, meant = scenario_of(AFTER, cs.load("before")), cs.load("after")

    for part in ("server", "database", "redis", "billing", "workload"):
        assert getattr(made, part) == getattr(meant, part), part
    assert scenario_of(BEFORE, cs.load("before")) == cs.load("before")


def test_the_families_are_single_changes_single_reverts_and_the_plans_order() -> None:
    assert tuple(change for change, _, _ in family(CUMULATIVE)) == STEPS == (*list(KNOBS)[:9], "hobby")
    for change, without, with_ in family(ONE):
        assert (without, with_.steps) == (BEFORE, (change,))
    for change, without, with_ in family(OUT):
        assert with_ == AFTER and set(AFTER.steps) - set(without.steps) == {change}
    order = family(CUMULATIVE)
    assert order[0][1] == BEFORE and order[-1][2] == AFTER
    assert all(a[2] == b[1] for a, b in pairwise(order))


# --- the verdicts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measure", "claimed", "interval", "more", "verdict"),
    [
        ("saving", (50, 100), (60, 55, 65), {}, "supported"),
        ("saving", (50, 100), (160, 155, 165), {}, "supported"),
        ("saving", (50, 100), (45, 40, 55), {}, "partly"),
        ("saving", (50, 100), (13, 13, 13), {}, "partly"),
        ("saving", (50, 100), (12, 12, 12), {}, "not supported"),
        ("saving", (50, 100), (0, 0, 0), {"stressed": [60]}, "partly"),
        ("saving", (50, 100), (0, 0, 0), {"stressed": [3]}, "not supported"),
        ("saving", (50, 100), (-70, -80, -60), {}, "not supported"),
        ("before", (20, 50), (30, 25, 35), {}, "supported"),
        ("before", (20, 50), (77, 20, 78), {}, "partly"),
        ("before", (20, 50), (77, 51, 78), {}, "not supported"),
        ("after", (5, 10), (8, 7, 9), {"without": [50]}, "supported"),
        ("after", (5, 10), (3, 3, 3), {"without": [50]}, "supported"),
        ("after", (5, 10), (8, 7, 9), {"without": [9]}, "partly"),
        ("after", (5, 10), (8, 7, 9), {"without": [9, 50], "stressed": [8]}, "supported"),
        ("after", (5, 10), (50, 9, 50), {}, "partly"),
        ("after", (5, 10), (50, 45, 55), {}, "not supported"),
        ("target", (None, 0), (0, 0, 0), {"without": [0]}, "supported"),
        ("target", (None, 0.01), (0, 0, 0), {"stressed": [0.0, 0.5]}, "partly"),
        ("rank", (0, None), (-5, -9, -1), {}, "not supported"),
    ],
)
def test_a_verdict_follows_from_ranges_alone(measure, claimed, interval, more, verdict) -> None:
    assert judge(measure, Range(*claimed), interval, **more)[0] == verdict


# --- what would have to be true -----------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", [1.0, 1.7, 77.7, 640.0, 1000.0])
def test_the_search_finds_where_it_begins_from_either_end(edge: float) -> None:
    up, fails_up = first(1.0, 1_000.0, lambda size: size >= edge)
    down, fails_down = first(1_000.0, 1.0, lambda size: size <= edge)

    assert up is not None and edge <= up <= 1.03 * edge and (fails_up is None or fails_up < edge)
    assert down is not None and edge / 1.03 <= down <= edge and (fails_down is None or fails_down > edge)


def test_a_whole_number_is_found_exactly_while_a_step_is_more_than_the_precision() -> None:
    assert first(1.0, 300.0, lambda size: size >= 29, whole=True) == (29.0, 28.0)
    assert first(300.0, 1.0, lambda size: size <= 7, whole=True) == (7.0, 8.0)


LOADS = Loads(5.0, 12.0, 5.0)


def claim(of: str):
    return next(c for c in read().claim if c.id == of)


def solved(of: str, number: int, **range_: float):
    """What a claim needs, searched for in a narrow part of its range."""
    spec = claim(of)
    return solve(spec, spec.needs[number].model_copy(update=range_), cs.load("before"), LOADS, 0)


def test_buffers_hold_what_was_claimed_below_the_cap_that_row_sizes_give() -> None:
    found = solved("full buffers", 0, from_=1_000.0, to=600.0, duration_s=60.0)

    rows = 3 * 2**20 / sum(value(f"{row}_row") for row in ("event", "revenue", "heartbeat"))
    assert found.size <= rows < found.fails_at
    assert found.fails_at / found.size <= 1.03


def test_the_memory_that_is_missing_is_what_the_program_would_have_to_keep() -> None:
    """Loaded data is live at the start and stays: what is claimed less what is billed without any, within a tenth."""
    found = solved("baseline before", 0, from_=1_024.0, to=2_048.0, duration_s=600.0)

    assert found.size == pytest.approx(1_536 - 144, rel=0.1)
    assert found.figure[0] >= 1_536


def test_the_pool_needs_as_many_cpus_as_connections_say() -> None:
    """All connections are opened in the stall, and have inserted or not: 2 n + 1 of them instead of 10."""
    found = solved("pool", 1, from_=24.0, to=34.0, duration_s=150.0)

    connections = 2 * found.size + 1 - 10
    each = found.figure[0] - found.figure[1]
    assert each >= 200
    assert 1.0 < each / connections < 5.0  # MiB a connection: between idle and having inserted
    assert found.fails_at == found.size - 1


def test_what_no_size_brings_is_said_to_be_none() -> None:
    found = solved("logger", 1, from_=5.0, to=20.0, duration_s=300.0)

    assert found.size is None and found.fails_at == 20.0


def test_a_need_of_an_absurd_range_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        NeedSpec.model_validate({"what": "x", "vary": "x", "unit": "", "from": 0, "to": 1, "load": "mean"})


# --- the figures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [BEFORE, AFTER], ids=["before", "after"])
def test_the_stall_and_the_outage_are_those_of_the_stress_envelope(side: Side) -> None:
    spec = scenario_of(side, cs.load("before"))
    table = stress(spec, 12.0, seed=3).set_index(["test", "metric"]).value
    played = Played(spec, None, 12.0, seed=3)

    # The audit counts what a writer that never recovers loses in its own window, 300 s after the stall.
    without_end = 300 * table["stall", "loss_rate_until_restart"]
    lost = table["stall", "items_lost"] + without_end
    assert figure(played, "stall_items_lost").expected == pytest.approx(lost, rel=0.02)
    assert figure(played, "stall_items_stuck").expected == table["stall", "items_stuck"]
    assert figure(played, "stall_rss_peak").expected == pytest.approx(table["stall", "server_rss_peak"])
    offered = table["outage", "items_offered"]
    assert figure(played, "outage_lost_share").expected == table["outage", "items_lost"] / offered


@pytest.fixture(scope="module")
def short() -> Played:
    load = {"trace": None, "rate_hz": 5.0, "duration_s": 3_600.0}
    base = cs.load("before")
    base = base.replace("workload", base.workload.model_dump(mode="python") | load)
    return Played(base, None, 6.0, seed=0)


def test_figures_are_those_of_a_run_and_its_bill(short: Played) -> None:
    summary = short.run.summary().set_index("metric").value
    bill = billed(short.month, short.scenario).set_index(["service", "line"])

    for name, metric in (("server_rss_mean", "server_rss_mean"), ("server_rss_peak", "server_rss_peak"),
                         ("server_billed_mean", "server_billed_mean"), ("server_heap_mean", "server_heap_mean"),
                         ("pool_open_peak", "pool_open_peak"), ("lost_share", "items_lost_share")):  # fmt: skip
        assert figure(short, name).expected == pytest.approx(summary[metric]), name
    assert figure(short, "total") == tuple(
        bill.loc[("workspace", "total"), column] for column in ("amount_usd", "lower_usd", "upper_usd")
    )
    assert figure(short, "egress").expected == bill.loc[("server", "egress"), "amount_usd"]


def test_every_figure_has_a_number_and_a_bracket_around_it(short: Played) -> None:
    for name in FIGURES:
        found = figure(short, name)
        if not math.isnan(found.expected):
            assert found.low <= found.expected <= found.high, name


# --- the whole of it ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def little() -> tuple[cs.Scenario, ClaimsSpec]:
    load = {"trace": None, "rate_hz": 2.0, "duration_s": 300.0, "queries_hz": 0.0}
    base = cs.load("before")
    base = base.replace("workload", base.workload.model_dump(mode="python") | load).replace("stress.stall_s", 20.0)
    wanted = ("logger", "full buffers", "metrics", "heap cap, in force")
    chosen = [claim(name) for name in wanted]
    chosen = [c.model_copy(update={"needs": c.needs[1:]}) for c in chosen]  # the first of the logger takes long
    return base, ClaimsSpec(schema_version=1, source="x", claim=tuple(chosen))


@pytest.fixture(scope="module")
def examined(little) -> Audit:
    base, claims = little
    return examine(base, replicates=2, claims=claims, families=(CUMULATIVE,), workers=1)


def test_an_audit_judges_every_claim_and_every_change(examined: Audit) -> None:
    verdicts = {c.claim: c.verdict for c in examined.claims}

    assert verdicts["metrics"] == "not testable"
    assert verdicts["full buffers"] == verdicts["heap cap, in force"] == "not supported"
    assert {(c.family, c.change) for c in examined.changes} == {(CUMULATIVE, step) for step in STEPS}
    logger = next(c for c in examined.claims if c.claim == "logger")
    assert logger.without.value - logger.with_change.value == pytest.approx(logger.predicted.value, abs=1e-6)
    assert logger.predicted.half_width < 1 and logger.predicted.low <= logger.predicted.value
    assert logger.needs[0].size is None


def test_the_steps_in_order_add_up_to_the_plan(examined: Audit) -> None:
    for name in ("server_billed_mean", "project_billed_mean", "total"):
        steps = [c for c in examined.changes if (c.family, c.figure) == (CUMULATIVE, name)]
        whole = steps[0].without - steps[-1].with_change
        assert math.fsum(step.saving for step in steps) == pytest.approx(whole, abs=1e-5)


def test_the_number_of_workers_changes_nothing(little, examined: Audit) -> None:
    base, claims = little

    assert dumps(examine(base, replicates=2, claims=claims, families=(CUMULATIVE,), workers=2)) == dumps(examined)


def test_it_is_told_on_the_terminal_as_a_page_and_as_tables(examined: Audit, tmp_path: Path) -> None:
    assert all(len(line) <= 100 for line in overview(examined).splitlines())
    with pytest.raises(CapsimError, match="cannot be read"):
        load_audit(tmp_path / "audit.json")
    (tmp_path / "audit.json").write_text(dumps(examined), encoding="utf-8")
    assert load_audit(tmp_path / "audit.json") == examined
    (tmp_path / "audit.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CapsimError, match=r"audit\.json: capsim_version"):
        load_audit(tmp_path / "audit.json")


# --- what is kept -------------------------------------------------------------------------------------------------


def test_the_kept_audit_is_of_the_claims_and_changes_as_they_are_now() -> None:
    kept = load_audit(KEPT / "audit.json")
    assert {(c.family, c.change) for c in kept.changes} == {(f, c) for f in FAMILIES for c, _, _ in family(f)}
    told = [(c.id, c.place, c.says, c.least, c.most, len(c.needs)) for c in read().claim]

    assert [(c.claim, c.place, c.says, c.least, c.most, len(c.needs)) for c in kept.claims] == told
    assert drift(KEPT, kept) == []


def test_what_differs_is_named_by_claim_and_change(tmp_path: Path) -> None:
    kept = load_audit(KEPT / "audit.json")
    for name, text in texts(kept).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    claim_ = kept.claims[0].model_copy(update={"verdict": "supported"})
    change = kept.changes[0].model_copy(update={"saving": 1.5})
    now = kept.model_copy(update={"claims": (claim_, *kept.claims[1:]), "changes": (change, *kept.changes[1:])})
    (tmp_path / "claims.csv").write_text("x", encoding="utf-8")

    found = drift(tmp_path, now)
    assert found[0] == "claims: baseline before: verdict: was not supported, is supported"
    assert found[1].startswith("changes: one at a time / logger / server_rss_mean: saving: was ")
    assert found[2:] == ["claims.csv: is not that of audit.json beside it"]


def test_the_part_of_the_readme_that_is_made_of_the_audit_is_that_of_the_kept_one() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert BEGIN not in readme or block(load_audit(KEPT / "audit.json")) in readme
    assert markdown(load_audit(KEPT / "audit.json")).count("\n| ") > 53


def test_the_page_of_the_kept_audit_is_whole(tmp_path: Path) -> None:
    kept = load_audit(KEPT / "audit.json")
    write(kept, tmp_path)
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")

    assert page.count("data:image") == 5
    assert all(f"{c.claim}: <span" in page for c in kept.claims)
    assert sorted(path.name for path in (tmp_path / "plots").iterdir() if path.suffix == ".png") == [
        "bill.png", "changes.png", "levels.png", "losses.png", "savings.png",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_kept_audit_is_the_one_that_would_be_made_now() -> None:
    result = CliRunner().invoke(main, ["audit", "--check"])

    assert result.exit_code == 0, result.output


def test_the_schema_in_the_repository_is_the_one_of_the_code() -> None:
    assert (data_dir() / "schema" / "audit.schema.json").read_text(encoding="utf-8") == schema_text()


# --- the command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--check", "--json"], "leave --out and --json out"),
        (["--trace", "/nowhere.csv"], "nowhere.csv"),
        (["--replicates", "0"], "--replicates"),
        (["--scale", "nan"], "--scale"),
        (["--fidelity", "law"], "--fidelity"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_2(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(main, ["audit", *arguments])

    assert result.exit_code == 2
    assert says in result.output and "Traceback" not in result.output
    assert len(result.output.strip().splitlines()) == 1
