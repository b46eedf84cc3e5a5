"""Whatever bytes come in, a parser answers or refuses in words: the fuzzers' corpus, and tables with values exchanged.

`make fuzz` looks for more.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from capsim.base.errors import LONGEST_PROBLEM, CapsimError

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "fuzz"))

import odd  # noqa: E402
import parsers  # noqa: E402
from structure import exchanged  # noqa: E402

KEPT = sorted(path.relative_to(parsers.CORPUS) for path in parsers.CORPUS.glob("*/*"))


def test_every_parser_has_a_corpus_and_nothing_in_it_is_for_nobody():
    assert {path.parts[0] for path in KEPT} == set(parsers.PARSERS)


@pytest.mark.parametrize("name", parsers.PARSERS)
@pytest.mark.timeout(60)
def test_the_corpus_is_answered_or_refused_in_words(name):
    taken = [not parsers.check(name, path.read_bytes()) for path in sorted((parsers.CORPUS / name).iterdir())]

    if name not in ("design", "saved-result"):  # of those, other tests hold what is right
        assert any(taken), "a corpus without one correct input tests the first check only"


@pytest.mark.parametrize("name", [name for name, parser in parsers.PARSERS.items() if parser.example])
def test_a_table_with_anything_in_place_of_a_value_is_answered_or_refused_in_words(name):
    exchanged(name, examples=25)()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, parser in parsers.PARSERS.items() if parser.example])
def test_the_same_many_times(name):
    exchanged(name, examples=1_000)()


def odd_inputs(name, count, made=odd.exchanged):
    """Of a parser's inputs that somebody wrote, not a fuzzer, and of moderate size."""
    paths = sorted((parsers.CORPUS / name).iterdir())
    written = [path for path in paths if not re.fullmatch("[0-9a-f]{16}", path.name)]
    for path in written:
        data = path.read_bytes()
        if len(data) < 20_000:
            yield from made(data, max(count // len(written), 1))


@pytest.mark.parametrize("name", parsers.PARSERS)
def test_an_odd_value_in_place_of_another_is_answered_or_refused_in_words(name):
    for data in odd_inputs(name, 60):
        parsers.check(name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", parsers.PARSERS)
def test_all_odd_values(name):
    for data in odd_inputs(name, 4_000):
        parsers.check(name, data)


@pytest.mark.parametrize("name", parsers.PARSERS)
@pytest.mark.timeout(120)  # of which it takes a few; readers whose time grew with the square took from minutes to hours
def test_a_piece_repeated_without_end_is_answered_or_refused_in_words(name):
    for data in odd_inputs(name, 6, odd.repeated):
        parsers.check(name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", parsers.PARSERS)
@pytest.mark.timeout(1_200)
def test_many_pieces_repeated(name):
    for data in odd_inputs(name, 400, odd.repeated):
        parsers.check(name, data)


def test_a_check_sees_what_is_no_refusal(monkeypatch):
    monkeypatch.setitem(parsers.PARSERS, "env", parsers.Parser(lambda data: data.decode("ascii")))

    with pytest.raises(UnicodeDecodeError):
        parsers.check("env", b"\xff")


def test_a_refusal_is_short_and_can_be_printed_whatever_it_quotes():
    refusal = CapsimError("a.toml: " + "\ud800" * 10_000 + "; give another")

    (problem,) = refusal.problems
    problem.encode()
    assert len(problem) < LONGEST_PROBLEM + 10
    assert problem.startswith("a.toml: ") and problem.endswith("; give another")
    assert str(refusal) == problem


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("railway-json", '{"deploy":{"startCommand":"\\ud800"}}', "half a surrogate pair"),
        ("time", "UTC\n" + "9" * 400 + "h", "is no length of time"),
        ("billed", '{"a":[{"measurement":"CPU_USAGE","values":[null]}]}', "no list of samples"),
        ("billed", f'{{"a":[{{"measurement":"CPU_USAGE","value":{10**400}}}]}}', "must be a number from 0 to 1e+15"),
        ("slo", "a = " + "[" * 2_000 + "]" * 2_000, "deep nesting"),
        ("env", "A=1" + " " * 200 + "\n", "200 blanks in a row"),
        ("recording-csv", "," * 2_000, "is no table that capsim record wrote"),
        ("time", "a/" * 5_000 + "a\n1h", "is not known here"),
        ("design", "server.pool.limit=1e400\n\ngrid", "beyond all numbers"),
        ("design", "\nserver.pool.limit=1:5\nlhs:²", "design lhs:² is not known"),
        ("journal", "[" * 100_000 + "\n", "is not a finished run"),
        ("oracle-cases", "[" * 100_000, "not JSON"),
    ],
)
def test_what_once_broke_a_parser_is_told_with_its_remedy(name, data, says):
    assert says in parsers.check(name, data.encode())


def test_a_series_of_thousands_of_columns_is_refused_before_pandas_makes_them():
    companion = next(data for path in sorted((parsers.CORPUS / "series").iterdir())
                     if not parsers.check("series", data := path.read_bytes())).split(parsers.BETWEEN)[0]  # fmt: skip

    assert "has 2,001 columns" in parsers.check("series", companion + parsers.BETWEEN + b"," * 2_000 + b"\n")


def test_numbers_of_railway_ts_are_read_as_javascript_writes_them(tmp_path):
    from capsim.telemetry.inspect import effective, read

    file = tmp_path / "railway.ts"
    file.write_text('service("a", { start: "node a.js", replicas: 0x10, deploy: { drainingSeconds: 1_0n } })')

    found = effective(read([str(file)]))
    assert (found.replicas, found.draining_s) == (16, 10)


def test_lines_with_more_cells_than_the_head_are_refused_and_shift_no_column(tmp_path):
    """pandas would take the first cell for the name of the line, and every column from its neighbour."""
    from capsim.validation.series import read_series

    (tmp_path / "a.run.toml").write_text('format = 1\n[[runs]]\nname = "a"\n')
    (tmp_path / "a.csv").write_text("t_s,reqs_or_count,rss\n" + "".join(f"{s},{s * 10},60,5\n" for s in range(8)))

    with pytest.raises(CapsimError, match="not a CSV table"):
        read_series(tmp_path / "a.csv")
