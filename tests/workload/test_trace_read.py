"""What a reader of recorded loads gets right, and how it refuses what it cannot."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from capsim.base.errors import TraceError
from capsim.workload import find_trace, read_trace
from capsim.workload.instants import iso

AWKWARD = Path(__file__).parents[1] / "data" / "traces" / "awkward.log"
LINE = '192.0.2.7 - - [17/May/2015:10:05:{second:02d} +0000] "GET /{n} HTTP/1.1" 200 5 "-" "x"\n'


def file(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(*args, **kwargs) -> str:
    with pytest.raises(TraceError) as caught:
        read_trace(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def minutes(*counts: object) -> str:
    return "timestamp,count\n" + "".join(f"2026-02-03T10:{i:02d}:00Z,{c}\n" for i, c in enumerate(counts))


# --- access logs ----------------------------------------------------------------------------------------------------


def test_an_access_log_is_read_with_every_oddity_that_real_ones_have():
    trace = read_trace(AWKWARD)

    assert [iso(t)[11:] for t in trace.times_us.tolist()] == [
        "10:26:58Z", "10:26:59Z", "10:27:00Z", "10:27:03Z", "10:27:04Z",
    ]  # fmt: skip
    assert (trace.kind, trace.resolution_us, trace.out_of_order, trace.broken_lines) == ("events", 1_000_000, 1, 0)
    assert trace.name == "awkward"
    assert any("cut short" in note and "line 6" in note for note in trace.notes)


def test_gzip_is_known_by_content_and_not_by_name(tmp_path):
    packed = read_trace(file(tmp_path, gzip.compress(AWKWARD.read_bytes()), "plain.log"))

    assert packed.times_us.tolist() == read_trace(AWKWARD).times_us.tolist()


def test_each_line_of_an_access_log_has_its_own_zone_so_a_change_of_summer_time_is_no_step_back(tmp_path):
    line = '- - - [25/Oct/2026:02:{m:02d}:00 {zone}] "GET / HTTP/1.1" 200 5\n'
    text = line.format(m=59, zone="+0200") + line.format(m=0, zone="+0100")

    trace = read_trace(file(tmp_path, text))

    assert trace.out_of_order == 0
    assert trace.times_us[1] - trace.times_us[0] == 60_000_000


def test_broken_lines_are_counted_and_the_first_three_shown_without_addresses(tmp_path):
    lines = [LINE.format(second=n % 60, n=n) for n in range(100)]
    for at in (9, 19, 29, 39):
        lines[at] = f"192.0.2.99 garbage {at}\n"

    trace = read_trace(file(tmp_path, "".join(lines)))

    assert (trace.total, trace.broken_lines) == (96, 4)
    (note,) = [n for n in trace.notes if "could not be read" in n]
    assert all(f"line {n}:" in note for n in (10, 20, 30)) and "line 40:" not in note
    assert "192.0.2.99" not in note


def test_a_file_with_more_broken_lines_than_the_share_is_refused(tmp_path):
    lines = [LINE.format(second=n % 60, n=n) for n in range(94)] + ["garbage\n"] * 6
    path = file(tmp_path, "".join(lines))

    said = refusal(path)

    assert "6 of 100 lines" in said and "line 95" in said and str(path) in said
    assert read_trace(path, max_broken=0.06).broken_lines == 6


# --- gzip -----------------------------------------------------------------------------------------------------------


def test_a_gzip_that_ends_early_is_refused_with_the_last_line_read(tmp_path):
    text = "".join(f"{'0' * n}{n * 7919}\n" for n in range(20_000)).encode()[:200_000]
    whole = gzip.compress(b"timestamp\n" + b"2026-02-03T10:00:00Z\n" * 10 + text)

    said = refusal(file(tmp_path, whole[: len(whole) // 2], "a.csv.gz"), max_broken=1)

    assert "ends early, after line" in said


def test_a_damaged_gzip_is_refused(tmp_path):
    whole = bytearray(gzip.compress(minutes(*range(50)).encode()))
    whole[-6] ^= 0xFF  # the check sum

    assert "damaged" in refusal(file(tmp_path, bytes(whole)))


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"PK\3\4abc", "zip"), (b"\xff\xfet\0", "UTF-16"), (b"ab\0cd\n", "binary")],
)
def test_other_packings_are_named(tmp_path, content, word):
    assert word in refusal(file(tmp_path, content))


# --- counts ---------------------------------------------------------------------------------------------------------


def test_absent_bins_are_no_data_and_not_zero(tmp_path):
    trace = read_trace(
        file(tmp_path, "timestamp,count\n2026-02-03T10:00Z,4\n2026-02-03T10:01Z,0\n2026-02-03T10:04Z,6\n")
    )

    assert trace.counts.tolist() == [4, 0, 6]
    assert [(to - from_) / 60e6 for from_, to in trace.gaps] == [2]
    assert trace.covered_us == 3 * 60_000_000
    assert any("no data" in note for note in trace.notes)


def test_bins_have_the_width_of_their_usual_step_and_may_start_anywhere(tmp_path):
    text = "timestamp,count\n" + "".join(f"2014-04-10T00:{m:02d}:07Z,1\n" for m in (4, 9, 14, 24, 29))

    trace = read_trace(file(tmp_path, text))

    assert (trace.width_us, len(trace.gaps)) == (300_000_000, 1)
    assert iso(trace.start_us) == "2014-04-10T00:04:07Z"


@pytest.mark.parametrize(
    ("count", "word"),
    [("-3", "-3"), ("nan", "nan"), ("inf", "inf"), ("1e300", "1e300"), ("2.5", "2.5"), ("99999999999999", "9999")],
)
def test_impossible_counts_end_the_reading_at_their_line(tmp_path, count, word):
    said = refusal(file(tmp_path, minutes(1, 2, count, 4)))

    assert word in said and ("line 4" in said or "10:02" in said)


def test_time_that_goes_back_or_stands_still_ends_the_reading_of_counts(tmp_path):
    back = "timestamp,count\n2026-02-03T10:01Z,4\n2026-02-03T10:00Z,4\n"
    same = "timestamp,count\n2026-02-03T10:01Z,4\n2026-02-03T10:01Z,4\n"

    assert "line 3" in (said := refusal(file(tmp_path, back))) and "goes back" in said
    assert "repeats" in refusal(file(tmp_path, same))


def test_bins_of_several_widths_are_refused(tmp_path):
    text = "timestamp,count\n" + "".join(f"2026-02-03T10:{m:02d}:00Z,1\n" for m in (0, 5, 10, 13, 18, 23))

    assert "2026-02-03T10:13:00Z" in refusal(file(tmp_path, text))


@pytest.mark.parametrize("text", ["", "\n\n", "timestamp,count\n", "timestamp\n"])
def test_an_empty_trace_is_refused(tmp_path, text):
    assert "empty" in refusal(file(tmp_path, text))


def test_two_columns_without_a_header_are_not_guessed(tmp_path):
    path = file(tmp_path, "2026-02-03T10:00Z,4\n2026-02-03T10:01Z,5\n")

    assert "--format" in refusal(path)
    assert read_trace(path, format="counts").counts.tolist() == [4, 5]
    assert read_trace(path, format="events").total == 2


# --- stamps ---------------------------------------------------------------------------------------------------------


def test_seven_decimals_and_semicolons_are_read_and_a_missing_zone_is_said(tmp_path):
    path = file(tmp_path, "TIMESTAMP;Tokens\n2023-11-16 18:15:46.6805900;374\n2023-11-16 18:15:50.9951690;396\n")

    trace = read_trace(path)

    assert iso(int(trace.times_us[0])) == "2023-11-16T18:15:46.680590Z"
    assert any("assumed" in note for note in trace.notes)


def test_a_zone_given_applies_to_stamps_without_one(tmp_path):
    path = file(tmp_path, "timestamp\n2026-07-01T12:00:00\n2026-07-01T12:00:00Z\n")

    trace = read_trace(path, zone="Europe/Rome")

    assert [iso(t) for t in trace.times_us.tolist()] == ["2026-07-01T10:00:00Z", "2026-07-01T12:00:00Z"]
    assert not any("assumed" in note for note in trace.notes)
    assert "Mars/Base" in refusal(path, zone="Mars/Base")


@pytest.mark.parametrize(
    "stamp", ["1770112800", "1770112800.0", "1770112800000", "1770112800000000", "1770112800000000000"]
)
def test_epoch_numbers_are_read_in_the_unit_that_their_size_tells(tmp_path, stamp):
    trace = read_trace(file(tmp_path, f"time\n{stamp}\n"))

    assert iso(trace.start_us) == "2026-02-03T10:00:00Z"


def test_a_time_since_some_start_is_not_taken_for_a_date(tmp_path):
    assert "too small" in refusal(file(tmp_path, "time\n27482\n27490\n"))


def test_stamps_quantised_to_several_seconds_are_noticed(tmp_path):
    text = "timestamp\n" + "".join(f"2026-02-03T10:{m:02d}:{s:02d}Z\n" for m in range(10) for s in (0, 15, 30, 45))

    trace = read_trace(file(tmp_path, text))

    assert trace.resolution_us == 15_000_000
    assert any("quantised" in note for note in trace.notes)


def test_a_column_is_chosen_by_name_or_number(tmp_path):
    path = file(tmp_path, "id,seen\n7,2026-02-03T10:00Z\n8,2026-02-03T11:00Z\n")

    assert read_trace(path, column="seen").total == 2
    assert read_trace(path, column="2").total == 2
    assert read_trace(path).total == 2  # no other column holds times
    assert "id, seen" in refusal(path, column="when")
    assert "seen, left" in refusal(file(tmp_path, "id,seen,left\n7,2026-02-03T10:00Z,2026-02-03T11:00Z\n"))


def test_a_stray_quote_breaks_its_line_only(tmp_path):
    rows = ["2026-02-03T10:00Z,ok"] * 30
    rows[10] = '"2026-02-03T10:00Z,torn'
    trace = read_trace(file(tmp_path, "timestamp,note\n" + "\n".join(rows)))

    assert (trace.total, trace.broken_lines) == (29, 1)


# --- JSON lines -----------------------------------------------------------------------------------------------------


def test_railways_log_export_is_read_without_being_told(tmp_path):
    entry = {"timestamp": "2026-06-16T00:15:14.250Z", "method": "GET", "httpStatus": 200, "srcIp": "203.0.113.1"}

    trace = read_trace(file(tmp_path, json.dumps(entry) + "\n", "http.ndjson"))

    assert iso(trace.start_us) == "2026-06-16T00:15:14.250000Z"
    assert trace.resolution_us == 10_000


def test_a_field_inside_a_field_is_chosen_with_a_dot(tmp_path):
    text = '{"request":{"at":1646861401.5241024}}\n{"request":{"at":1646861402}}\n'

    trace = read_trace(file(tmp_path, text), field="request.at")

    assert trace.times_us.tolist() == [1646861401524102, 1646861402000000]
    assert "request" in refusal(file(tmp_path, text))


# --- Parquet --------------------------------------------------------------------------------------------------------


def test_parquet_is_read_as_counts_or_events(tmp_path):
    duckdb = pytest.importorskip("duckdb", reason="the extra `traces` is not installed")
    events, counts = tmp_path / "e.parquet", tmp_path / "c.parquet"
    stamps = "TIMESTAMP '2026-02-03 10:00:00' + to_minutes(i) AS timestamp"
    duckdb.sql(f"COPY (SELECT {stamps} FROM range(3) t(i)) TO '{events}' (FORMAT parquet)")
    duckdb.sql(f"COPY (SELECT {stamps}, i AS count FROM range(3) t(i)) TO '{counts}' (FORMAT parquet)")

    assert [iso(t)[11:16] for t in read_trace(events).times_us.tolist()] == ["10:00", "10:01", "10:02"]
    assert read_trace(counts).counts.tolist() == [0, 1, 2]
    assert "timestamp" in refusal(events, column="nope")


def test_parquet_without_its_reader_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)

    assert "capsim[traces]" in refusal(file(tmp_path, b"PAR1xxxx"))


# --- finding --------------------------------------------------------------------------------------------------------


def test_a_trace_is_found_by_bundled_name_or_relative_to_the_scenario(tmp_path):
    file(tmp_path, minutes(1, 2))

    assert find_trace("web-week").name == "web-week.csv"
    assert find_trace("a.csv", tmp_path) == tmp_path / "a.csv"
    with pytest.raises(TraceError, match=r"did you mean 'game-day'"):
        find_trace("game-dya", tmp_path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "absent.csv")
    assert "folder" in refusal(tmp_path)
    with pytest.raises(TraceError, match="no regular file; give a file, not a folder"):
        find_trace(tmp_path)


def test_an_error_stays_short_however_long_the_line_is(tmp_path):
    assert len(refusal(file(tmp_path, "x" * 100_000))) < 1_000
    assert len(refusal(file(tmp_path, json.dumps({"x" * 100_000: 1})))) < 1_000
