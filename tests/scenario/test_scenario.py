"""Scenario files: what is read, what is refused and in which words, what is written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from capsim.base.errors import ScenarioError
from capsim.cli import main
from capsim.scenario.changes import applied
from capsim.scenario.file import dumps, keys, load, loads, names, schema, warnings
from capsim.scenario.plan import CHANGES, MANUAL
from capsim.scenario.scenario import Scenario

DATA = Path(__file__).parents[2] / "data"
MINIMAL = 'name = "x"\n[workload]\nrate_hz = 5\nduration_s = 60\n[billing]\nfrom = "2026-02-03"\n'
BUNDLED = ("after", "after-as-deployed", "before", "fixed", "later", "recommended")
POOL = {"server.pool.limit", "server.pool.pool_timeout_s", "server.pool.connect_timeout_s"}
WRITERS = [f"server.writers.{stream}" for stream in ("events", "revenue", "heartbeats")]


def flat(table: dict, prefix: str = "") -> dict:
    """Dotted names and values of nested tables."""
    found = {}
    for name, value in table.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def differences(one: str, other: str) -> set[str]:
    a, b = (flat(load(name).model_dump(mode="json", by_alias=True)) for name in (one, other))
    return {key for key in a if a[key] != b[key]} - {"name", "title"}


def refusal(text: str) -> tuple[str, ...]:
    with pytest.raises(ScenarioError) as caught:
        loads(text, "a.toml")
    return caught.value.problems


# --- the bundled scenarios ---


def test_the_bundled_scenarios_are_valid_and_need_no_warning():
    assert tuple(names()) == BUNDLED
    assert [warnings(load(name)) for name in BUNDLED] == [[]] * len(BUNDLED)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_scenario_leaves_no_key_to_a_default(name):
    written = set(flat(load(name).model_dump(mode="json", by_alias=True, exclude_unset=True)))
    optional = re.compile(
        r"workload\.(rate_hz|duration_s|live_sessions|requests|runs|sessions)|database\.(bursts|faults)"
        r"|constants|calibration|redis\.faults|server\.(http\.clients|cache|metrics|writers\.\w+\.retry_for_ms)"
    )

    wanted = {key.name.partition("[]")[0] for key in keys() if not optional.match(key.name)}

    assert wanted == {name for name in written if not optional.match(name)}


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_scenario_points_editors_to_the_schema(name):
    first, _ = (DATA / "scenarios" / f"{name}.toml").read_text(encoding="utf-8").split("\n", 1)

    assert first == "#:schema ../schema/scenario.schema.json"
    assert load(name).name == name


def test_before_with_every_switch_of_the_plan_is_after():
    switched = applied(load("before").replace("plan", {"changes": CHANGES, "manual": MANUAL}))
    names = {"name": "after", "title": load("after").title}

    assert switched.model_copy(update=names).replace("billing.plan", "hobby") == load("after")


def test_a_switch_of_a_part_that_is_left_out_is_refused():
    scenario = load("before").replace("server.cleanup", None).replace("plan.changes", ["cleanup"])

    with pytest.raises(ScenarioError, match=r"add \[server.cleanup\]"):
        applied(scenario)


def test_as_deployed_lacks_the_heap_cap_the_pool_limits_and_the_shutdown_of_after():
    shutdown = {"server.process.handles_sigterm", "server.process.draining_s"}

    assert differences("after", "after-as-deployed") == POOL | shutdown | {"server.node.heap_cap_mib"}


def test_fixed_differs_from_after_by_the_writers_only():
    assert differences("after", "fixed") == {f"{writer}.semantics" for writer in WRITERS}


def test_the_default_pool_opens_97_connections():
    assert load("before").server.pool_limit == 97


def test_the_readme_names_the_leaf_of_every_key_that_the_scenarios_set():
    readme = (DATA / "scenarios/README.md").read_text(encoding="utf-8")
    text = dumps(load("after"))

    for key in flat(load("after").model_dump(mode="json", by_alias=True, exclude_none=True)):
        table, _, leaf = key.rpartition(".")
        if leaf not in ("schema_version", "name", "title", "runs", "faults", "lifecycle"):
            assert leaf in readme or f"{table}.*" in readme, key
    assert text.startswith("schema_version = 1")


# --- reading ---


def test_a_file_may_start_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.toml").write_text(MINIMAL, encoding="utf-8-sig")

    assert load(tmp_path / "a.toml").name == "x"


def test_a_date_may_be_written_with_or_without_quotes():
    assert loads(MINIMAL) == loads(MINIMAL.replace('"2026-02-03"', "2026-02-03"))


def test_a_trace_is_found_beside_the_scenario_file(tmp_path):
    (tmp_path / "a.toml").write_text(MINIMAL.replace("rate_hz = 5\nduration_s = 60", 'trace = "day.csv"'))

    assert load(tmp_path / "a.toml").workload.trace == str(tmp_path / "day.csv")
    assert load("after").workload.trace == "game-day"


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("[server.pool]\nlimti = 5", "a.toml: [server.pool] limti = 5 is not known; did you mean limit?"),
        ("[server.pol]\nlimit = 5", "a.toml: table [server.pol] is not known; did you mean [server.pool]?"),
        (
            "[server.writers.events]\ndelay_s = 5",
            "a.toml: [server.writers.events] delay_s = 5 is not known; "
            "delay_ms is in milliseconds: write delay_ms = 5000",
        ),
        (
            "[server.node]\nheap_cap_mb = 512",
            "a.toml: [server.node] heap_cap_mb = 512 is not known; "
            "heap_cap_mib is in MiB (2^20 bytes): write heap_cap_mib = 488",
        ),
        (
            "[server.pool]\npool_timeout = 5",
            "a.toml: [server.pool] pool_timeout = 5 is not known; did you mean pool_timeout_s (seconds)?",
        ),
        (
            "[server]\nheap_cap_mib = 512",
            "a.toml: [server] heap_cap_mib = 512 is not known; heap_cap_mib belongs to [server.node]",
        ),
        (
            "[redis]\nzzz = 1",
            "a.toml: [redis] zzz = 1 is not known; keys here: clients, keys, value_bytes, persistence, faults",
        ),
        (
            "[server.pool]\nlimit = 0",
            'a.toml: [server.pool] limit = 0 cannot be used; give a whole number from 1 to 1000000000 or "default"',
        ),
        (
            "[database.insert]\ncall_ms = -1",
            "a.toml: [database.insert] call_ms = -1 cannot be used; give a number from 0 to 3600000",
        ),
        (
            "[server.pool]\npool_timeout_s = nan",
            "a.toml: [server.pool] pool_timeout_s = nan cannot be used; give a number from 0.001 to 31622400",
        ),
        (
            '[server.pool]\npool_timeout_s = "20"',
            'a.toml: [server.pool] pool_timeout_s = "20" cannot be used; '
            "give a number from 0.001 to 31622400, without quotes",
        ),
        (
            "[server.pool]\npool_timeout_s = true",
            "a.toml: [server.pool] pool_timeout_s = true cannot be used; give a number from 0.001 to 31622400",
        ),
        (
            '[server.writers.events]\nsemantics = "fixd"',
            'a.toml: [server.writers.events] semantics = "fixd" cannot be used; '
            'give "seed", "fixed" or "recommended"; did you mean "fixed"?',
        ),
        (
            '[[database.faults]]\nkind = "slow"\nfrom_s = 5\nto_s = 9\nduration_ms = 1\n'
            '[[database.faults]]\nkind = "slow"\nfrom_s = 5\nto_s = 9',
            "a.toml: [[database.faults]] number 2: a slow fault needs duration_ms, the time each call takes",
        ),
        (
            "[workload.mix]\nevents = 0.5",
            "a.toml: [workload.mix] the shares add up to 0.9; they must add up to 1",
        ),
        (
            "[database]\ninsert = 4",
            "a.toml: [database] insert = 4 cannot be used; give a table [database.insert]",
        ),
    ],
    ids=lambda value: value.splitlines()[-1] if "a.toml" not in value else "",
)
def test_a_refusal_names_file_table_key_value_and_remedy(extra, words):
    assert refusal(MINIMAL + extra) == (words,)


def test_a_missing_key_is_named_with_what_it_means():
    (problem,) = refusal(MINIMAL.replace('from = "2026-02-03"', 'plan = "pro"'))

    assert problem.startswith('a.toml: [billing] from is missing; give a date such as "2026-02-03": first day')


def test_a_number_is_not_taken_for_a_date():
    (problem,) = refusal(MINIMAL.replace('"2026-02-03"', "86400"))

    assert problem == 'a.toml: [billing] from = 86400 cannot be used; give a date such as "2026-02-03"'


def test_the_name_of_the_python_field_is_no_key_of_a_file():
    assert "a.toml: [billing] from_date = 2026-02-03 is not known; did you mean from?" in refusal(
        MINIMAL.replace('from = "2026-02-03"', "from_date = 2026-02-03")
    )


def test_every_problem_is_told_at_once():
    assert len(refusal(MINIMAL + "[server.pool]\nlimit = 0\npool_timeout_s = -1\n[redis]\nclints = 1")) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = 1\na = 2\n", 'a.toml:2:6: "a = 2": this key or table was already given; leave one of them out'),
        ("[a]\n[b]\n[a]\n", 'a.toml:3:3: "[a]": this key or table was already given; leave one of them out'),
        ("a = 1\nb =\n", 'a.toml:2:4: "b =": not TOML: Invalid value'),
        ("a = " + "[" * 9_000, "a.toml: an absurdly long number or deep nesting; give plain tables"),
        ("a = " + "9" * 9_000, "a.toml: an absurdly long number or deep nesting; give plain tables"),
    ],
    ids=["key twice", "table twice", "no value", "deep", "long"],
)
def test_a_file_that_is_not_toml_is_refused_with_line_and_column(text, words):
    assert refusal(text) == (words,)


def test_unreadable_files_are_refused_in_one_line(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    (tmp_path / "large.toml").write_bytes(b"#" * (1 << 21))

    with pytest.raises(ScenarioError, match=r"latin.toml: byte 8 is not UTF-8"):
        load(tmp_path / "latin.toml")
    with pytest.raises(ScenarioError, match=r"larger than 1 MiB"):
        load(tmp_path / "large.toml")
    with pytest.raises(ScenarioError, match=r"did you mean 'after'\? bundled ones: after, "):
        load("aftr")
    with pytest.raises(ScenarioError, match=r"Is a directory"):
        load(tmp_path)


# --- warnings ---


def test_a_cap_below_the_batch_size_is_accepted_with_a_warning():
    (warning,) = warnings(loads(MINIMAL + "[server.writers.events]\nbuffer_cap_rows = 50"))

    assert warning.startswith("[server.writers.events] buffer_cap_rows = 50 is below batch_rows = 100: ")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("[server.pool]\nlimit = 98", "refuses the rest"),
        ('[redis]\npersistence = "aof"', "persistence has no effect without keys"),
        ('[database.insert]\ndistribution = "constant"\nsigma = 2', "[database.insert] sigma has no effect"),
        (
            '[[database.faults]]\nkind = "fail"\nfrom_s = 60\nto_s = 70',
            "number 1 begins after the load's end",
        ),
    ],
)
def test_what_is_possible_and_probably_not_meant_is_said(extra, words):
    (warning,) = warnings(loads(MINIMAL + extra))

    assert words in warning


def test_a_changed_copy_brings_no_warning_of_its_own():
    scenario = loads(MINIMAL).replace("database.insert.distribution", "constant")

    assert warnings(scenario) == warnings(loads(dumps(scenario))) == []


# --- changing and writing ---


def test_a_knob_is_replaced_by_its_name_in_the_file():
    changed = load("after").replace("billing.from", "2026-03-01").replace("server.pool.limit", 20)

    assert (str(changed.billing.from_date), changed.server.pool.limit) == ("2026-03-01", 20)
    assert differences("after", "after") == set()


def test_replacing_an_unknown_knob_is_refused_like_an_unknown_key():
    with pytest.raises(ScenarioError, match=r"replace\(\): \[server.pool\] limti = 5 is not known; did you mean"):
        load("after").replace("server.pool.limti", 5)


rates = st.floats(1e-6, 1e6)
faults = st.builds(
    lambda start, length: {"kind": "fail", "from_s": start, "to_s": start + length},
    st.floats(0, 1e6),
    st.floats(1, 1e6),
)
runs = st.fixed_dictionaries(
    {
        "stream": st.sampled_from(["events", "revenue"]),
        "at_ms": st.integers(0, 10**9),
        "count": st.integers(1, 9),
    },
    optional={"rate_hz": rates},
)


@given(
    st.one_of(
        st.fixed_dictionaries({"rate_hz": rates, "duration_s": st.floats(0.001, 1e6)}),
        st.fixed_dictionaries({"runs": st.lists(runs, min_size=1, max_size=3)}),
    ),
    st.lists(faults, max_size=3),
    st.one_of(st.just("none"), st.integers(1, 10**9)),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_what_is_written_reads_back_as_the_same_scenario(load_, faults_, cap, title):
    scenario = Scenario(
        name="x",
        title=title,
        workload={**load_, "sessions": {}},
        server={"writers": {"revenue": {"buffer_cap_rows": cap}}},
        database={"faults": faults_, "bursts": {}},
        billing={"from": "2026-02-03"},
    )

    assert loads(dumps(scenario)) == scenario


# --- for editors and for the reader ---


def test_the_schema_in_the_repository_is_current():
    kept = json.loads((DATA / "schema/scenario.schema.json").read_text(encoding="utf-8"))

    assert kept == schema(), "run `make schema`"


def test_every_key_says_what_it_means():
    assert [key.name for key in keys() if not key.meaning] == []


def test_a_default_that_depends_on_the_table_being_given_says_so():
    (row,) = [key for key in keys() if key.name == "database.insert.row_ms"]

    assert row.default == "0.1 (0 once [database.insert] is given)"
    assert loads(MINIMAL + "[database.insert]\ncall_ms = 10").database.insert.row_ms == 0


# --- the command line ---


def test_check_says_which_files_are_valid_and_prints_warnings(tmp_path):
    (tmp_path / "a.toml").write_text(MINIMAL + "[server.pool]\nlimit = 200")
    result = CliRunner().invoke(main, ["scenario", "check", "after", str(tmp_path / "a.toml")])

    assert result.exit_code == 0
    assert result.output.startswith(f"after: valid\n{tmp_path}/a.toml: valid, 1 warning\n{tmp_path}/a.toml: warning: ")


def test_check_refuses_with_exit_2_and_one_line_a_problem(tmp_path):
    (tmp_path / "a.toml").write_text(MINIMAL + "[server.pool]\nlimit = 0\nlimti = 3")
    result = CliRunner().invoke(main, ["scenario", "check", str(tmp_path / "a.toml"), "after"])

    assert result.exit_code == 2
    assert result.stdout == "after: valid\n"
    assert len(result.stderr.splitlines()) == 2


def test_schema_and_keys_are_printed():
    printed = CliRunner().invoke(main, ["scenario", "schema"]).output
    listed = CliRunner().invoke(main, ["scenario", "keys"]).output

    assert json.loads(printed) == schema()
    assert all(f"\n{key.name} " in f"\n{listed}" for key in keys())
    assert max(map(len, listed.splitlines())) <= 100


def test_keys_fit_a_terminal(tmp_path):
    script = "import pty, sys; sys.exit(pty.spawn([sys.executable, '-m', 'capsim', 'scenario', 'keys']) >> 8)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env={**os.environ, "COLUMNS": "80"}, check=True)  # fmt: skip

    assert "server.pool.limit = 10" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_what_a_key_accepts_is_accepted():
    """Said of true or false, of lists, and of a number above another one."""
    said = {key.name: key.accepts for key in keys()}

    assert said["server.queries.compression"] == said["database.stops_when_full"] == "true or false"
    assert said["plan.future"] == 'a list, each "pagination", "indexes", "cache" or "compression"'
    assert said["calibration.not_identified"] == "a list, each text"
    assert "a table" not in said.values() and "an array of tables" not in said.values()
    with pytest.raises(ScenarioError, match='future = "cache" cannot be used; give a list, each "pagination", "ind'):
        loads(MINIMAL + '[plan]\nfuture = "cache"\n')
    for value in ("1", '"true"', '"yes"', "0.0"):
        with pytest.raises(ScenarioError, match=r"compression = \S+ cannot be used; give true or false"):
            loads(MINIMAL + f"[server.queries]\ncompression = {value}\n")
    loads(MINIMAL + '[plan]\nfuture = ["cache"]\n[server.queries]\ncompression = true\n')
