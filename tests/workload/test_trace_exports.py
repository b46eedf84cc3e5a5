"""Exports of other tools: what each tells of when requests came, and what is no load and is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from capsim.base.errors import TraceError
from capsim.cli.trace import _FORMATS
from capsim.workload.exports import READERS
from capsim.workload.read import FORMATS, read_trace

EXPORTS = Path(__file__).parents[1] / "data" / "exports"
TEN_US = 1_770_112_800_000_000  # 2026-02-03T10:00Z

EVENTS = {  # file: seconds after ten o'clock
    "alb.log": [1.2, 3.0],  # as received; without that field, the answer less the time it took
    "envoy.log": [0.31, 2.0],
    "k6.json": [0.239531, 1.239531, 2.239531],
    "k6.csv": [0, 1, 2],
    "vegeta.json": [0.5, 1.5, 2.5],
    "vegeta.csv": [0.5, 1.5, 2.5],
    "har.json": [1.1, 5.596],
    "otlp.json": [0, 2],
    "access-ms.log": [0.25, 1.5],
    "array.json": [0.25, 1.5],
    "cloudfront.log": [1, 2],
    "elb.log": [0.5, 1.75],
    "gatling.log": [0.25, 1.5],
    "haproxy.log": [0.25, 1.5],
    "heroku.log": [0.25, 1.5],
    "s3.log": [1, 2],
    "text.log": [0.25, 1.5],
}
COUNTS = {  # file: width [s], counts
    "cloudwatch.json": (60, [12, 20, 30]),
    "prometheus-counter.json": (15, [31, 11, 31]),  # the second falls back: what it shows has come since
    "artillery.json": (10, [30, 20]),
    "grafana.csv": (15, [50, 45, 18]),
    "locust.csv": (1, [10, 15, 10, 10]),  # 20 in two seconds
}


@pytest.mark.parametrize("name", EVENTS)
def test_events_are_read_at_their_instants(name):
    trace = read_trace(EXPORTS / name)

    assert trace.kind == "events"
    assert ((trace.times_us - TEN_US) / 1e6).tolist() == pytest.approx(EVENTS[name], abs=1e-6)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_read_by_bin(name):
    trace = read_trace(EXPORTS / name)

    assert trace.kind == "counts" and trace.start_us == TEN_US
    assert (trace.width_us / 1e6, trace.counts.tolist()) == COUNTS[name]


def test_rates_of_a_series_without_a_name_are_of_the_step_before_and_are_asked_about():
    """7.5 requests a step are not whole, so they may be increases; no sum is off by more than half a request."""
    with pytest.raises(TraceError, match="--as rate"):
        read_trace(EXPORTS / "prometheus-rate.json")
    rates, counts = (read_trace(EXPORTS / "prometheus-rate.json", as_=kind) for kind in ("rate", "count"))

    assert (rates.start_us, rates.counts.tolist()) == (TEN_US - 15_000_000, [8, 7, 8, 7, 8])
    assert counts.total == 3  # of 2.5


def test_azure_functions_of_2019_are_counts_a_minute_of_the_day_in_the_name():
    trace = read_trace(EXPORTS / "azure-2019.anon.d03.csv")

    assert trace.counts[:4].tolist() == [1, 2, 3, 1] and trace.counts.size == 1_440
    assert trace.start_us == 1_563_321_600_000_000  # 2019-07-17
    assert any("is taken, by its name" in note for note in trace.notes)


def test_azure_functions_of_2021_arrive_when_they_end_less_what_they_took():
    trace = read_trace(EXPORTS / "azure-2021.txt")

    assert trace.times_us.tolist() == [1_612_051_210_000_000, 1_612_051_211_000_000]


def test_a_recording_is_a_load(tmp_path):
    session = {"kind": "session", "format": 1, "source": "x", "every_s": 5, "at": "2026-02-03T10:00:00Z"}
    samples = [
        {"kind": "sample", "at": "2026-02-03T10:00:00Z", "t_s": 5.0 * i, "events_flushed": 40 * i} for i in range(4)
    ]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (session, *samples)))

    assert read_trace(tmp_path / "r.jsonl").counts.tolist() == [40, 40, 40]


REFUSED = {
    "memory of a process": ({"__name__": "process_resident_memory_bytes"}, "is a level"),
    "seconds": ({"__name__": "http_request_duration_seconds_sum"}, "query the _count"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_level_is_no_load(tmp_path, what):
    metric, said = REFUSED[what]
    values = [[1770112800, "1"], [1770112815, "2"], [1770112830, "3"]]
    data = {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": metric, "values": values}]}}
    (tmp_path / "p.json").write_text(json.dumps(data))
    with pytest.raises(TraceError, match=said):
        read_trace(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.json", '{"Label":"CPU","Datapoints":[{"Timestamp":"2026-02-03T10:00:00Z","Maximum":0.3}]}', "has no Sum"),
        ("c.json", '{"Datapoints":[{"Timestamp":"2026-02-03T10:00:00Z","Sum":3,"Unit":"Percent"}]}', "in Percent"),
        ("g.csv", '"Time","heap"\n2026-02-03 10:00:00,120 MB\n2026-02-03 10:00:15,130 MB\n', "is a level"),
        ("e.log", '[2026-02-03T10:00:01.000Z] "GET / HTTP/2" 200 - 0 9 4 2 "-"\n' + "no\n" * 3, "3 of 4 lines cannot"),
        ("k.json", '{"type":"Point","metric":"http_reqs","data":{"time":"soon"}}\n' * 3, "cannot be read"),
        ("h.json", '{"log":{"entries":[]}}', "empty"),
    ],
)
def test_what_tells_no_load_is_refused_in_one_line(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(TraceError, match=said) as refused:
        read_trace(tmp_path / name)
    assert len(refused.value.problems) == 1


def test_every_reader_has_a_file_and_a_name_on_the_command_line():
    assert set(_FORMATS) == set(FORMATS)
    assert len(list(EXPORTS.iterdir())) == len(READERS) + 2  # two of Prometheus, and what they are


def test_no_client_address_is_kept_in_a_note(tmp_path):
    (tmp_path / "e.log").write_text((EXPORTS / "envoy.log").read_text() * 20 + "broken 192.0.2.99 line\n")

    assert "192.0.2.99" not in str(read_trace(tmp_path / "e.log").notes)


def test_a_packed_document_is_refused_as_soon_as_it_is_too_large(tmp_path, monkeypatch):
    """What is still to come of it may be any size, and must not be unpacked."""
    from capsim.workload import documents

    read = []
    monkeypatch.setattr(documents, "LARGEST_DOCUMENT_BYTES", 10_000)
    monkeypatch.setattr(documents, "lines_of", lambda _: ((n, read.append(n) or b" " * 1_000) for n in range(10**6)))
    with pytest.raises(TraceError, match="export a shorter time"):
        documents.document_of(tmp_path / "x.json")

    assert len(read) == 11


def cloudwatch(value: object) -> str:
    points = [{"Timestamp": f"2026-02-03T10:0{i}:00Z", "Sum": value if i else 3, "Unit": "Count"} for i in range(3)]
    return json.dumps({"Label": "RequestCount", "Datapoints": points})


def locust(from_s: int, to_s: int, requests: int) -> str:
    rows = [f"{at_s},1,,Aggregated,1,0,5,{total},0" for at_s, total in ((from_s, 0), (to_s, requests))]
    return "\n".join(["Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,Total Request Count,x", *rows, ""])


def azure(count: str) -> str:
    minutes = ",".join(map(str, range(1, 1_441)))
    return f"HashOwner,HashApp,HashFunction,Trigger,{minutes}\na,b,c,http,{','.join([count] * 1_440)}\n"


GRAFANA = "Time,a\n2026-02-03 10:00:00,1 req/s\n2026-02-03 10:01:00,{} req/s\n"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", cloudwatch(float("nan")), "nan requests at 2026-02-03T10:01:00Z are impossible"),
        ("a.json", cloudwatch(float("inf")), "endless requests at 2026-02-03T10:01:00Z are impossible"),
        ("a.json", cloudwatch(10**83), "1e+83 requests at 2026-02-03T10:01:00Z are impossible"),
        ("a.csv", locust(1_770_112_800, 1_770_112_801, 10**40), "1e+40 requests at 2026-02-03T10:00:00Z are"),
        ("a.csv", locust(1_577_836_800, 4_102_444_800, 5), "nothing between 2020-01-01T00:00:00Z and 2100"),
        ("a.csv", GRAFANA.format("9" * 320), "endless requests at 2026-02-03T10:01:00Z are impossible"),
        ("a.d01.csv", azure("1" * 30), "1.11111e+29 requests at 2019-07-15T00:00:00Z are impossible"),
        ("a.d01.csv", azure("9" * 400), "endless requests at 2019-07-15T00:00:00Z are impossible"),
    ],
)
def test_impossible_numbers_are_refused_with_their_place(tmp_path, name, text, said):
    path = tmp_path / name
    path.write_text(text)

    with pytest.raises(TraceError) as refused:
        read_trace(path)

    assert said in str(refused.value) and str(path) in str(refused.value)


def test_a_line_of_a_day_that_does_not_exist_is_broken(tmp_path):
    line = (EXPORTS / "envoy.log").read_text().splitlines()[0] + "\n"
    path = tmp_path / "envoy.log"
    path.write_text(line * 40 + line.replace("2026-02-03", "2026-02-30"))

    assert read_trace(path).total == 40
