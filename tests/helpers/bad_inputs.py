"""Bad input, and what capsim says to it: the cases of docs/bad-input.md.

    python tests/helpers/bad_inputs.py > docs/bad-input.md

plays each of them in an empty folder and writes the page; `tests/cli/test_bad_input.py` holds the page to it.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from capsim.cli import main

GOOD = """schema_version = 1
name = "mine"
[workload]
rate_hz = 5
duration_s = 60
[billing]
plan = "hobby"
from = "2026-02-03"
"""
COUNTS = "timestamp,count\n2026-03-02T18:00:00Z,540\n2026-03-02T18:01:00Z,610\n"
LATER = "2026-03-02T18:02:00Z,"
METRICS = {"timestamp": "2026-03-02T18:00:00Z", "memory": {"rss": "256MB"}, "uptime": "1 minutes"}
HEAD = """# Bad input, and what is said to it

Each row is played on every test run: exit code and message are what is printed (cut at 300 characters), nothing is left
behind, and a traceback would be a failure. Exit 2: bad input; 3: the machine failed; 0: it is handled. Parsers are
fuzzed besides (`fuzz/`, `make fuzz`), and what broke one is kept and played again.
"""
SLO = 'schema_version = 1\nname = "x"\n'


def target(name: str, metric: str, limit: str, unit: str) -> str:
    """A target of a file of targets."""
    return f'[[target]]\ntarget = "{name}"\nmetric = "{metric}"\nwindow = "month"\n{limit}\nunit = "{unit}"\n'


MOST_SHOWN = 300  # characters of a message on the page


class Case(NamedTuple):
    """One command on one bad input.

    Parameters
    ----------
    what : str
        What is wrong, for the reader.
    words : tuple of str
        The command's arguments.
    files : mapping of name to content
        What stands in the folder before; a path: a symbolic link to it.
    """

    what: str
    words: tuple[str, ...]
    files: dict[str, str | bytes | Path] = {}  # noqa: RUF012


def scenario(**changed: str) -> dict[str, str | bytes | Path]:
    """``my.toml`` with lines replaced, by the name of their key, or appended."""
    lines = GOOD.splitlines()
    for key, line in changed.items():
        place = next((n for n, text in enumerate(lines) if text.startswith(f"{key} =")), None)
        if place is None:
            lines.append(line)
        else:
            lines[place] = line
    return {"my.toml": "\n".join(lines) + "\n"}


def more(text: str) -> dict[str, str | bytes | Path]:
    """``my.toml`` with something appended."""
    return {"my.toml": GOOD + text}


CHECK, RUN = ("scenario", "check", "my.toml"), ("run", "my.toml")
IMPORT = ("trace", "import", "mine.csv", "--out", "x.csv")
SECTIONS: dict[str, list[Case]] = {
    "Scenarios": [
        Case("the file is not there", ("run", "mine.toml")),
        Case("not TOML", CHECK, {"my.toml": "name = x\n"}),
        Case("not text", CHECK, {"my.toml": b"\xff\xfe\x00n\x00a"}),
        Case("a folder", ("scenario", "check", "folder"), {"folder/x": ""}),
        Case("a key that takes hours to read", CHECK, {"my.toml": "a" + ".a" * 100_000 + " = 1"}),
        Case("larger than any scenario", CHECK, {"my.toml": "#" * (1 << 21)}),
        Case("an unknown key", CHECK, more("[server.pool]\nlimti = 5\n")),
        Case("a number in quotes", CHECK, scenario(rate_hz='rate_hz = "5"')),
        Case("a limit of 0", CHECK, more("[server.pool]\nlimit = 0\n")),
        Case("a negative latency", CHECK, more("[database.insert]\ncall_ms = -1\n")),
        Case("not a number", CHECK, scenario(rate_hz="rate_hz = nan")),
        Case("latencies that scatter beyond all measure", CHECK, more("[database.insert]\nsigma = 9\n")),
        Case("a timer of a nanosecond", CHECK, more("[server.cleanup]\ninterval_s = 1e-9\n")),
        Case("endless", CHECK, scenario(duration_s="duration_s = inf")),
        Case(
            "a fault that ends before it starts",
            CHECK,
            more('[[database.faults]]\nkind = "fail"\nfrom_s = 9\nto_s = 3\n'),
        ),
        Case("a switch that does not exist", CHECK, more('[plan]\nchanges = ["heap-cap"]\n')),
        Case("two kinds of load", CHECK, scenario(duration_s='duration_s = 60\ntrace = "game-day"')),
        Case("a table of another shape", CHECK, more("[server]\nwriters = 3\n")),
        Case("a name of an unknown scenario", ("run", "aftre")),
        Case("nothing at all", CHECK, {"my.toml": ""}),
    ],
    "Plans, prices and dates": [
        Case("a date before the first price", RUN, scenario(**{"from": 'from = "2015-01-01"'})),
        Case("a date that is none", RUN, scenario(**{"from": 'from = "2026-02-30"'})),
        Case("an unknown plan", RUN, scenario(plan='plan = "enterprise"')),
        Case(
            "a unit of another kind",
            ("sweep", "my.toml", "--vary", "server.pool.pool_timeout_s=5,2MB"),
            {"my.toml": GOOD},
        ),
        Case("a bill in another currency", RUN, more('currency = "EUR"\n')),
    ],
    "Traces": [
        Case("not there", ("trace", "describe", "mine.csv")),
        Case("empty", ("trace", "describe", "mine.csv"), {"mine.csv": ""}),
        Case("a header and no row", ("trace", "describe", "mine.csv"), {"mine.csv": "timestamp,count\n"}),
        Case("another header", ("trace", "describe", "mine.csv"), {"mine.csv": "when;many\n1;2\n"}),
        Case("a count that is none", ("trace", "describe", "mine.csv"), {"mine.csv": COUNTS + LATER + "many\n"}),
        Case("a negative count", ("trace", "describe", "mine.csv"), {"mine.csv": COUNTS + LATER + "-4\n"}),
        Case("a bin twice", ("trace", "describe", "mine.csv"), {"mine.csv": COUNTS + "2026-03-02T18:01:00Z,1\n"}),
        Case("a time that is none", ("trace", "describe", "mine.csv"), {"mine.csv": COUNTS + "yesterday,4\n"}),
        Case(
            "an export with a number that is none",
            ("trace", "describe", "cloudwatch.json"),
            {
                "cloudwatch.json": '{"Label": "RequestCount", "Datapoints": ['
                '{"Timestamp": "2026-02-03T10:00:00Z", "Sum": 3, "Unit": "Count"}, '
                '{"Timestamp": "2026-02-03T10:01:00Z", "Sum": NaN, "Unit": "Count"}]}'
            },
        ),
        Case(
            "an export with a hole of eighty years",
            ("trace", "describe", "stats_history.csv"),
            {
                "stats_history.csv": "Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,Total Request Count\n"
                "1577836800,1,,Aggregated,1,0,5,0\n4102444800,1,,Aggregated,1,0,5,9\n"
            },
        ),
        Case(
            "packed, and cut short",
            ("trace", "describe", "log.gz"),
            {"log.gz": gzip.compress(b"x" * 9_999, mtime=0)[:30]},
        ),
        Case("named as packed, and not", ("trace", "describe", "log.gz"), {"log.gz": "not packed\n"}),
        Case(
            "packed a thousandfold, one line",
            ("trace", "describe", "log.bz2"),
            {"log.bz2": bz2.compress(b"0" * (1 << 26))},
        ),
        Case("a picture", ("trace", "describe", "log.png"), {"log.png": b"\x89PNG\r\n\x1a\n" + bytes(200)}),
        Case(
            "a stretch that is not in it",
            ("run", "after", "--trace", "mine.csv", "--from", "2027-01-01"),
            {"mine.csv": COUNTS},
        ),
        Case("ends before it begins", ("run", "after", "--trace", "game-day", "--from", "5h", "--to", "2h")),
        Case("a scale of 0", ("run", "after", "--scale", "0")),
        Case(
            "a zone that is none",
            ("trace", "import", "mine.csv", "--zone", "Mars", "--out", "x.csv"),
            {"mine.csv": COUNTS},
        ),
        Case(
            "more load than fits in memory",
            ("run", "after", "--trace", "mine.csv", "--scale", "1000000"),
            {"mine.csv": COUNTS},
        ),
    ],
    "Outputs": [
        Case("a folder that is there", ("run", "my.toml", "--out", "out"), {"my.toml": GOOD, "out/x": ""}),
        Case(
            "below something that is no folder", ("run", "my.toml", "--out", "file/out"), {"my.toml": GOOD, "file": ""}
        ),
        Case(
            "a table over a folder",
            ("trace", "import", "mine.csv", "--out", "folder"),
            {"mine.csv": COUNTS, "folder/x": ""},
        ),
    ],
    "Configuration": [
        Case(
            "quotes, comments, exports, Windows line ends",
            ("inspect", ".env"),
            {
                ".env": b'# a comment\r\nexport DATABASE_URL="postgresql://u:secret@h/db?connection_limit=5"\r\n'
                b"NODE_OPTIONS='--max-old-space-size=400'\r\n"
            },
        ),
        Case("a line of .env that is none", ("inspect", ".env"), {".env": "DATABASE_URL\n=x\n"}),
        Case(
            "start commands after each other",
            ("inspect", "railway.json"),
            {
                "railway.json": json.dumps(
                    {"deploy": {"startCommand": "npx prisma migrate deploy && (cd dist; node x.js || exit 1)"}}
                )
            },
        ),
        Case(
            "a start command with a substitution",
            ("inspect", "railway.json"),
            {"railway.json": json.dumps({"deploy": {"startCommand": "node $(touch pwned) server.js"}})},
        ),
        Case("a mebibyte of blanks in .env", ("inspect", ".env"), {".env": "A=1" + " " * 1_000_000 + "\n"}),
        Case("railway.json that is not JSON", ("inspect", "railway.json"), {"railway.json": "{"}),
        Case("an address without a host", ("inspect", "postgresql://")),
        Case("a limit that is none", ("inspect", "postgresql://u:secret@h/db?connection_limit=many")),
        Case("a scenario without a day", ("inspect", ".env", "--write", "x.toml"), {".env": "A=1\n"}),
        Case("an empty folder", ("inspect", "folder"), {"folder/x": ""}),
    ],
    "Sweeps": [
        Case("an unknown key", ("sweep", "my.toml", "--vary", "server.pool.limti=1,2"), {"my.toml": GOOD}),
        Case("a value out of range", ("sweep", "my.toml", "--vary", "server.pool.limit=1,0"), {"my.toml": GOOD}),
        Case(
            "a range the wrong way round",
            ("sweep", "my.toml", "--design", "lhs:4", "--range", "workload.rate_hz=9:1"),
            {"my.toml": GOOD},
        ),
        Case(
            "a logarithmic range from 0",
            ("sweep", "my.toml", "--design", "lhs:4", "--range", "workload.rate_hz=0:1:log"),
            {"my.toml": GOOD},
        ),
        Case("nothing to resume", ("sweep", "my.toml", "--vary", "server.pool.limit=1", "--resume"), {"my.toml": GOOD}),
        Case(
            "a cluster that is not there",
            ("sweep", "my.toml", "--vary", "server.pool.limit=1", "--dask", "nowhere"),
            {"my.toml": GOOD},
        ),
    ],
    "Targets": [
        Case("no such file", ("findings", "my.toml", "--slo", "mine"), {"my.toml": GOOD}),
        Case(
            "an unknown metric",
            ("optimize", "my.toml", "--slo", "slo.toml"),
            {
                "my.toml": GOOD,
                "slo.toml": SLO + target("speed", "sped", "most = 1", "1/s"),
            },
        ),
        Case(
            "targets that contradict each other",
            ("optimize", "my.toml", "--slo", "slo.toml"),
            {
                "my.toml": GOOD,
                "slo.toml": SLO
                + target("small", "server_rss_mean", "most = 100", "MiB")
                + target("large", "server_rss_mean", "least = 200", "MiB"),
            },
        ),
    ],
    "Recordings of a running server": [
        Case("an address that is none", ("record", "server/api/metrics", "--for", "1s", "--out", "x.jsonl")),
        Case("a cadence that is none", ("record", "http://h/api/metrics", "--every", "often", "--out", "x.jsonl")),
        Case("another ending", ("record", "http://h/api/metrics", "--for", "1s", "--out", "x.xlsx")),
        Case(
            "a page instead of metrics",
            ("calibrate", "my.toml", "week.jsonl"),
            {"my.toml": GOOD, "week.jsonl": "<html>\n"},
        ),
        Case(
            "one sample",
            ("calibrate", "my.toml", "week.jsonl"),
            {"my.toml": GOOD, "week.jsonl": json.dumps(METRICS) + "\n"},
        ),
        Case("a bill that is none", ("compare", "my.toml", "usage.json"), {"my.toml": GOOD, "usage.json": "[]"}),
    ],
    "Places and links": [
        Case("a link that leads to itself", CHECK, {"my.toml": Path("my.toml")}),
        Case("the same, as a load", ("trace", "describe", "mine.csv"), {"mine.csv": Path("mine.csv")}),
        Case("the same, as an output", IMPORT, {"mine.csv": COUNTS, "x.csv": Path("x.csv")}),
        Case("a link that leads to nothing", (*RUN, "--out", "out"), {"my.toml": GOOD, "out": Path("nowhere")}),
        Case("a folder below it", (*RUN, "--out", "out/a"), {"my.toml": GOOD, "out": Path("nowhere")}),
        Case("a file as a folder", (*RUN, "--out", "out"), {"my.toml": GOOD, "out": ""}),
        Case("a folder of other files", (*RUN, "--out", "out"), {"my.toml": GOOD, "out/thesis.txt": ""}),
        Case("an output without a name", (*IMPORT[:-1], ""), {"mine.csv": COUNTS}),
        Case("a folder that is not there", (*IMPORT[:-1], "no/x.csv"), {"mine.csv": COUNTS}),
    ],
    "Checks": [
        Case("recorded cases that are none", ("validate", "oracle", "cases.json"), {"cases.json": "{}"}),
        Case("a recording of 200,000 columns", ("calibrate", "after", "r.csv"), {"r.csv": "," * 200_000}),
        Case("a series without its columns", ("validate", "memory", "run.csv"), {"run.csv": "a,b\n1,2\n"}),
        Case("a notebook that is none", ("report", "x.ipynb"), {"x.ipynb": "{}"}),
        Case("an unknown command", ("simulate", "after")),
        Case("an unknown option", ("run", "after", "--fast")),
    ],
}


class Fault(NamedTuple):
    """Something that the machine or its operator does, what becomes of it, and the test that plays it."""

    what: str
    outcome: str
    test: str


FAULTS = [
    Fault(
        "the disk fills up",
        "one line that names file and folder, exit 3; old files stay, new ones are absent",
        "test_a_full_disk_leaves_nothing",
    ),
    Fault(
        "a worker process dies (out of memory, killed)",
        "one line, exit 3; a sweep replaces it, and ends with exit 3 after three deaths over one run",
        "test_a_killed_worker_of_a_command_is_one_line_and_exit_3",
    ),
    Fault("memory runs out", "one line, exit 3", "test_memory_that_runs_out_is_one_line_and_exit_3"),
    Fault(
        "the folder is read-only",
        "one line, exit 2, before the work",
        "test_a_read_only_folder_is_one_line_before_the_work",
    ),
    Fault(
        "two runs write into one folder",
        "the second is refused, exit 2",
        "test_a_run_that_lives_keeps_its_folder_and_bars_a_second_into_the_same",
    ),
    Fault(
        "a run is killed (SIGKILL)",
        "its hidden folder `.capsim-...` is removed by the next run into the same place",
        "test_what_a_killed_run_left_is_removed_by_the_next",
    ),
    Fault(
        "the output is a link to a file",
        "the file is written, the link stays",
        "test_a_link_is_written_through_and_stays",
    ),
    Fault("the output is a pipe or a device", "refused, exit 2; it stays", "test_a_pipe_is_not_replaced_by_a_file"),
    Fault(
        "names with line ends, control characters, no text, 255 bytes",
        "written and read like any",
        "test_whatever_can_be_a_name_can_be_written",
    ),
    Fault(
        "a terminal, and a name with control characters",
        "shown as `\\x1b`, not obeyed",
        "test_a_terminal_is_shown_control_characters_and_obeys_none",
    ),
    Fault("stdin, stdout or stderr is closed", "no stdout: exit 2, as nobody gets the answer", "test_closed_streams"),
    Fault(
        "any locale, time zone (or none), width, no home",
        "the same bytes; redirected output is UTF-8",
        "test_the_answer_is_the_same_wherever_it_is_asked",
    ),
    Fault(
        "nowhere to keep compiled kernels",
        "compiled anew each time",
        "test_kernels_are_compiled_where_nothing_can_be_kept",
    ),
]


class Answer(NamedTuple):
    """What happened."""

    exit_code: int
    said: str  # the last lines: of an error if there was one
    made: tuple[str, ...]  # files that were not there before


def play(case: Case) -> Answer:
    """Play a case in an empty folder."""
    with _inside() as folder:
        for name, content in case.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                path.symlink_to(content)
                continue
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        result = CliRunner().invoke(main, list(case.words), prog_name="capsim", catch_exceptions=True)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - set(case.files)
        said = (result.stderr if result.exit_code else result.output).strip()
        return Answer(result.exit_code, said, tuple(sorted(made)))


@contextlib.contextmanager
def _inside() -> Iterator[Path]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def page(answers: dict[tuple[str, tuple[str, ...]], Answer]) -> str:
    """docs/bad-input.md."""
    text = io.StringIO()
    text.write(HEAD)
    for title, cases in SECTIONS.items():
        text.write(f"\n## {title}\n\n| what | `capsim` | exit | said |\n|---|---|---|---|\n")
        for case in cases:
            answer = answers[case.what, case.words]
            words = " ".join(case.words).replace("|", "\\|")
            text.write(f"| {case.what} | `{words}` | {answer.exit_code} | {cell(answer.said)} |\n")
    text.write("\n## Faults of the machine\n\n")
    text.write("Played by `tests/cli/test_tool_faults.py` and `tests/base/test_workers.py`.\n\n")
    text.write("| what happens | what becomes of it |\n|---|---|\n")
    for fault in FAULTS:
        text.write(f"| {fault.what} | {fault.outcome} |\n")
    return text.getvalue()


def cell(said: str) -> str:
    """A message as one cell."""
    short = said if len(said) <= MOST_SHOWN else f"{said[:MOST_SHOWN]} ..."
    return "<br>".join(line.replace("|", "\\|").replace("<", "&lt;").replace("`", "'") for line in short.splitlines())


if __name__ == "__main__":
    sys.stdout.write(page({(case.what, case.words): play(case) for cases in SECTIONS.values() for case in cases}))
