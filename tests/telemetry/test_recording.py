"""What `capsim record` keeps of a server that misbehaves, and what is made of it when it is read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from capsim.base.errors import CapsimError
from capsim.cli import main
from capsim.telemetry.calibration.recording_comparison import is_recording
from capsim.telemetry.record import recorder as recorder
from capsim.telemetry.record.ask import Unanswered, ask
from capsim.telemetry.record.recorder import RecordSettings, record
from capsim.workload.recordings import read_recording
from capsim.workload.recordings.address import address_of
from capsim.workload.recordings.journal import Journal, parts_of
from capsim.workload.recordings.metrics_response import NotMetrics, UnitUnknown, read_answer
from capsim.workload.recordings.write import write_recording
from metrics_server import HTML, answer, metrics_server

EVERY_S = 0.1
SECRET = "hunter2"


@pytest.fixture
def server():
    with metrics_server() as running:
        yield running


def settings_of(server, for_s=0.5, **given):
    return RecordSettings(address=address_of(server.url), every_s=EVERY_S, for_s=for_s, **given)


def story(server, out, *modes, each=2):
    """Record while the server goes through its modes, `each` instants in each."""

    def turn(tally):
        number = (tally.samples + tally.missed) // each
        server.mode = modes[min(number, len(modes) - 1)]

    server.mode = modes[0]
    record(settings_of(server, for_s=EVERY_S * each * len(modes)), out, turn)
    return read_recording(out)


# --- one answer


def test_the_seeds_texts_become_numbers():
    values = read_answer(json.dumps(answer(70, rss="256MB", uptime="45 minutes")).encode()).values

    assert (values["rss_mib"], values["uptime_s"], values["db_connections"]) == (256, 2700, 4)
    assert (values["events_flushed"], values["revenue_buffer_rows"]) == (70, 3)


def test_what_cannot_be_read_is_named_and_the_rest_is_used():
    body = answer()
    body["memory"]["rss"] = "lots"
    body["batchWriters"]["events"]["bufferSize"] = -3
    del body["dbConnections"]
    read = read_answer(json.dumps(body).encode())

    assert read.unread == ("memory.rss", "batchWriters.events.bufferSize")
    assert "rss_mib" not in read.values and "db_connections" not in read.values
    assert read.values["heap_used_mib"] == 20


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (HTML, "an HTML page"),
        (b"ok", "no JSON"),
        (b"[1]", "no object"),
        (b'{"status":"ok","uptime":3}', "it has status"),
        (b"[" * 100_000, "no JSON"),
        (b"\x1f\x8b\x08 ...", "compressed answer"),
        (b"# TYPE up gauge\nup 1\n", "Prometheus text without the memory"),
        (b'{"status":"UP","components":{}}', "it has status, components"),
    ],
)
def test_what_is_no_metrics_is_called_by_its_name(body, what):
    with pytest.raises(NotMetrics, match=what):
        read_answer(body)


MEMORY = {"rss": 268_435_456, "heapTotal": 134_217_728, "heapUsed": 102_760_448}
IN_MIB = {"rss_mib": 256, "heap_total_mib": 128, "heap_used_mib": 98}
WRITER = {"bufferSize": 3, "totalFlushed": 70, "totalFailed": 1, "totalDropped": 2}


@pytest.mark.parametrize(
    "body",
    [
        {"memory": MEMORY},
        MEMORY,  # process.memoryUsage() itself
        {"memoryUsage": MEMORY},
        {"data": {"memory": MEMORY}},
        {"status": "ok", "metrics": {"memory_usage": MEMORY}},
        {"memory": {"rss": "256MB", "heap_total": "128 MiB", "heap_used": "98MB"}},
        {"memory": {"rssMb": 256, "heapTotalMB": 128, "heap_used_mb": 98}},
        {"memory": {"rss_bytes": 268_435_456, "heapTotalBytes": 134_217_728, "heapUsed_bytes": 102_760_448}},
        {"memory": {"RSS": "256MB", "HeapTotal": "128MB", "heap-used": "98MB"}},
    ],
)
def test_memory_is_read_however_it_is_spelled_and_wrapped(body):
    assert read_answer(json.dumps(body).encode()).values == IN_MIB


@pytest.mark.parametrize(
    "writers",
    [
        {"batchWriters": {"events": WRITER}},
        {"batchWriters": {"eventBatchWriter": WRITER}},
        {"batch_writers": {"event_writer": WRITER}},
        {"writers": [{"name": "events", **WRITER}]},
        {"eventBatchWriter": WRITER},
        {"batchWriters": {"events": {"buffer_size": 3, "total_flushed": 70, "failed": 1, "dropped": 2}}},
        {"data": {"memory": MEMORY, "batchWriters": {"EventsWriter": WRITER}}},
    ],
)
def test_writers_are_read_however_they_are_spelled(writers):
    values = read_answer(json.dumps({"memory": MEMORY, **writers}).encode()).values

    assert [values[f"events_{name}"] for name in ("buffer_rows", "flushed", "failed", "dropped")] == [3, 70, 1, 2]


def test_what_is_there_and_has_no_place_is_named():
    body = {"memory": MEMORY | {"limit": "512MB"}, "batchWriters": {"audit": WRITER, "events": WRITER | {"lagMs": 4}}}
    read = read_answer(json.dumps(body).encode())

    assert read.unread == ("memory.limit", "batchWriters.audit", "batchWriters.*.lagMs")
    assert read_answer(b'{"memory": 256, "batchWriters": {"events": {"flushed": 1}}}').unread == ("memory",)


@pytest.mark.parametrize(
    ("memory", "unit", "said"),
    [
        ({"rss": 256, "heapUsed": 98}, None, "memory.rss is the number 256; no Node process has so few bytes"),
        ({"rss": 262_144, "heapUsed": 100_352}, None, "so few bytes"),  # KiB
        ({"heapUsed": 98.4}, None, "memory.heapUsed is the number 98.4"),
        ({"rss": 268_435_456}, "MiB", "so many MiB"),
    ],
)
def test_a_number_that_cannot_be_of_its_unit_is_asked_about(memory, unit, said):
    with pytest.raises(UnitUnknown, match=said):
        read_answer(json.dumps({"memory": memory}).encode(), unit)


@pytest.mark.parametrize(("unit", "rss"), [("MiB", 256), ("KiB", 262_144), ("MB", 268.435456), ("GiB", 0.25)])
def test_numbers_are_of_the_unit_that_was_said(unit, rss):
    assert read_answer(json.dumps({"memory": {"rss": rss}}).encode(), unit).values["rss_mib"] == pytest.approx(256)


PROMETHEUS = b"""# HELP process_resident_memory_bytes Resident memory size in bytes.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes{app="api"} 268435456
# TYPE process_start_time_seconds gauge
process_start_time_seconds{app="api"} 1764500000
nodejs_heap_size_total_bytes{app="api"} 134217728
nodejs_heap_size_used_bytes{app="api"} 1.02760448e+8
nodejs_eventloop_lag_seconds{app="api"} 0.004
http_requests_failed_total{app="api",path="/api/events"} 7
batch_writer_flushed_total{app="api",writer="events"} 70
batch_writer_buffer_size{app="api",writer="events"} 3
batch_writer_dropped_total{app="api",writer="audit"} 9
"""


def test_prometheus_text_of_prom_client_is_read():
    read = read_answer(PROMETHEUS, at_s=1_764_500_060.0)

    expected = IN_MIB | {"uptime_s": 60, "events_flushed": 70, "events_buffer_rows": 3}
    assert read.values == expected and read.unread == ()
    prefixed = PROMETHEUS.replace(b"process_res", b"my_process_res").replace(b"nodejs_heap", b"my_nodejs_heap")
    assert read_answer(prefixed, at_s=1_764_500_060.0).values == expected


def test_prometheus_text_of_several_processes_names_what_it_tells_twice():
    text = b'process_resident_memory_bytes{pid="1"} 1e8\nprocess_resident_memory_bytes{pid="2"} 1e8\n'
    read = read_answer(text + b"nodejs_heap_size_used_bytes 1e7\n")

    assert read.unread == ("process_resident_memory_bytes (told 2 times)",) and "rss_mib" not in read.values


def test_a_unit_is_asked_for_at_once_and_its_answer_is_kept(server, tmp_path):
    server.body = {"memory": {"rss": 256, "heapUsed": 98}}
    command = ["record", server.url, "--every", "0.1s", "--for", "0.3s", "--out"]
    asked = CliRunner().invoke(main, [*command, str(tmp_path / "a.jsonl")])
    told = CliRunner().invoke(main, [*command, str(tmp_path / "b.jsonl"), "--unit", "MiB"])

    assert asked.exit_code == 2 and "--unit MiB" in asked.output and asked.output.count("\n") == 1
    assert not (tmp_path / "a.jsonl").exists()
    assert told.exit_code == 0 and read_recording(tmp_path / "b.jsonl").samples["rss_mib"].eq(256).all()
    assert "no totals of writers" in told.output


def test_saved_answers_are_given_their_unit_when_a_table_is_made_of_them(tmp_path):
    folder, out = tmp_path / "answers", tmp_path / "r.csv"
    folder.mkdir()
    for n in range(3):
        told = {"timestamp": f"2026-02-03T10:00:0{n}Z", "memory": {"rss": 256, "note": 1}}
        (folder / f"{n}.json").write_text(json.dumps(told))

    with pytest.raises(CapsimError, match=r"capsim record PATH --unit MiB --out FILE\.csv"):
        read_recording(folder)
    done = CliRunner().invoke(main, ["record", str(folder), "--unit", "MiB", "--out", str(out)])
    assert done.exit_code == 0 and "memory.note was there and was not taken" in done.output
    assert read_recording(out).samples["rss_mib"].eq(256).all()


def test_answers_in_any_spelling_are_a_recording_for_compare(tmp_path):
    for name, told in (("a", {"memoryUsage": {"rss": 256}}), ("b", {"writers": {"event": {"flushed": 1}}})):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"timestamp": "2026-02-03T10:00:00Z", **told}) + "\n")
        assert is_recording(str(tmp_path / f"{name}.jsonl"))
    (tmp_path / "log.jsonl").write_text('{"time": "2026-02-03T10:00:00Z", "msg": "GET /"}\n')
    assert not is_recording(str(tmp_path / "log.jsonl"))


def test_a_refused_password_is_said(server, tmp_path):
    server.mode = "401"
    done = CliRunner().invoke(main, ["record", server.url, "--out", str(tmp_path / "r.jsonl")])

    assert done.exit_code == 2 and "HTTP 401; put user and password before the host" in done.output


# --- a server that misbehaves


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("hang", "too slow|connection lost"),
        ("drip", "too slow"),
        ("500", "HTTP 500"),
        ("html", "an HTML page"),
        ("empty", "without memory"),
        ("large", "more than 1 MiB"),
        ("away", "redirected to http://elsewhere.invalid:80;"),
        ("nowhere", "redirected to something that is no http address"),
    ],
)
def test_a_server_that_misbehaves_costs_the_samples_of_that_time_and_no_others(server, tmp_path, mode, why):
    recording = story(server, tmp_path / "r.jsonl", "ok", mode, "ok")

    assert len(recording.samples) >= 4
    assert 1 <= recording.missed["count"].sum() == 6 - len(recording.samples)
    assert recording.missed["why"].str.contains(why).any()
    assert recording.samples["events_flushed"].is_monotonic_increasing


def test_a_server_that_is_killed_and_comes_back_is_another_process(server, tmp_path):
    def turn(tally):
        count = tally.samples + tally.missed
        if count == 2:
            server.kill()
        if count == 4:
            server.flushed = 0
            server.start()

    record(settings_of(server, for_s=0.7), tmp_path / "r.jsonl", turn)
    recording = read_recording(tmp_path / "r.jsonl")

    assert recording.samples["process"].tolist() == [0, 0, 1, 1, 1]
    assert recording.missed["count"].sum() == 2 and (recording.missed["why"] == "connection refused").all()
    assert any("1 restart of the server" in note for note in recording.notes)


def test_a_redirect_on_the_same_host_is_followed(server):
    server.mode = "moved"

    assert read_answer(ask(address_of(server.url), 2.0)).values["rss_mib"] == 90
    assert server.seen[-1]["path"] == "/elsewhere"


def test_the_recorders_clock_may_be_set_meanwhile(server, tmp_path, monkeypatch):
    true = time.time
    asked = []

    def wall():
        return true() - (3_600 if len(server.seen) > 3 else 0)

    monkeypatch.setattr(recorder.time, "time", wall)
    record(settings_of(server, for_s=0.6), tmp_path / "r.jsonl", asked.append)
    recording = read_recording(tmp_path / "r.jsonl")

    assert len(recording.samples) == 6 and 0.4 < recording.span_s < 0.7
    assert any("clock was set by -3600" in note for note in recording.notes)


def test_the_servers_clock_may_be_set_meanwhile(server, tmp_path):
    def turn(tally):
        server.body = answer(1_000 + tally.samples, at=time.time() - 7_200 * (tally.samples > 2))

    record(settings_of(server), tmp_path / "r.jsonl", turn)
    recording = read_recording(tmp_path / "r.jsonl")

    assert len(recording.samples) == 5 and recording.samples["process"].max() == 0
    assert any(note.startswith("The server's clock was set 1 time") for note in recording.notes)


# --- the file


def test_a_torn_last_line_costs_that_line_only(server, tmp_path):
    out = tmp_path / "r.jsonl"
    record(settings_of(server, for_s=0.3), out)
    with out.open("ab") as file:
        file.write(b'{"kind":"sample","at":"2026-0')
    assert len(read_recording(out).samples) == 3

    record(settings_of(server, for_s=0.2), out)

    assert len(read_recording(out).samples) == 5
    assert all(json.loads(line) for line in out.read_text().splitlines())


def test_a_recorder_that_is_killed_loses_one_sample_at_most(server, tmp_path):
    out = tmp_path / "r.jsonl"
    command = [sys.executable, "-m", "capsim", "record", server.url, "--every", "100ms", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 20
    while len(server.seen) < 6 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    asked = len(server.seen) - 1  # the first was the trial

    assert asked - 2 <= len(read_recording(out).samples) <= asked


def test_what_lies_between_two_sessions_is_marked(server, tmp_path):
    out = tmp_path / "r.jsonl"
    record(settings_of(server, for_s=0.2), out)
    time.sleep(0.5)
    record(settings_of(server, for_s=0.2), out)
    recording = read_recording(out)

    assert recording.missed["why"].tolist() == ["nothing was recorded"]
    assert 3 <= recording.missed["count"].sum() <= 8


def test_a_large_file_is_put_aside_and_read_together_with_the_next(server, tmp_path):
    out = tmp_path / "r.jsonl"
    record(settings_of(server, for_s=0.8, rotate_bytes=1_500), out)

    assert len(parts_of(out)) > 1 and parts_of(out)[0].name == "r.0001.jsonl"
    assert len(read_recording(out).samples) == 8
    assert len(read_recording(out).missed) == 0


def test_two_recorders_do_not_share_a_file(server, tmp_path):
    out = tmp_path / "r.jsonl"
    journal = Journal(out, {"source": "x", "every_s": 1, "at": "2026-01-01T00:00:00Z"}, 1 << 20)
    with pytest.raises(CapsimError, match="another process records into it"):
        Journal(out, {"source": "x", "every_s": 1, "at": "2026-01-01T00:00:00Z"}, 1 << 20)
    journal.close()


def test_a_full_disk_is_one_line_and_keeps_what_was_recorded(server, tmp_path, monkeypatch):
    out = tmp_path / "r.jsonl"
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CapsimError, match=r"r\.jsonl: cannot be written \(No space left"):
        record(settings_of(server), out)
    assert len(out.read_text().splitlines()) == 3


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_of_it_is_read_as_the_same_recording(server, tmp_path, suffix):
    recording = story(server, tmp_path / "r.jsonl", "ok", "500", "ok")
    write_recording(recording, tmp_path / f"r{suffix}")
    again = read_recording(tmp_path / f"r{suffix}")

    assert again.source == recording.source
    assert again.samples.round(6).equals(recording.samples.round(6))
    assert again.missed[["count", "why"]].values.tolist() == recording.missed[["count", "why"]].values.tolist()


# --- what is refused


def test_credentials_are_used_and_never_written(server, tmp_path):
    url = server.url.replace("http://", f"http://me:{SECRET}@") + f"?token={SECRET}"
    out = tmp_path / "r.csv"
    done = CliRunner().invoke(main, ["record", url, "--every", "100ms", "--for", "300ms", "--out", str(out)])

    assert done.exit_code == 0, done.output
    assert server.seen[-1]["authorization"].startswith("Basic ") and SECRET in server.seen[-1]["path"]
    assert all(SECRET not in path.read_text() for path in tmp_path.iterdir())
    assert SECRET not in done.output and SECRET not in repr(address_of(url)) and len(list(tmp_path.iterdir())) == 2


def test_credentials_do_not_follow_a_redirect_to_another_origin(server):
    """Another host, another port of the same host, another scheme: the other side is not even asked."""
    with metrics_server() as other:
        port = f":{server.port}/"
        for elsewhere in (
            "http://elsewhere.invalid/", other.url, f"//127.0.0.1:{other.port}/", f"http://localhost{port}",
            f"https://127.0.0.1{port}", "http://127.0.0.1/",
        ):  # fmt: skip
            server.mode, server.elsewhere = "away", elsewhere
            with pytest.raises(Unanswered, match=r"redirected to https?://[\w.]+:\d+; record that address") as told:
                ask(address_of(server.url.replace("http://", f"http://me:{SECRET}@")), 2.0)
            assert SECRET not in str(told.value)

        assert other.seen == [] and len(server.seen) == 6


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/x", "no http:// or https://"),
        ("http://host:99999/", "cannot be read"),
        ("http://host:0/", "cannot be read"),
        (f"http://me:{SECRET}@host:x/", "cannot be read"),
        ("http://127.0.0.1:1/api/metrics", "connection refused; check the address"),
    ],
)
def test_a_wrong_address_is_one_line(tmp_path, url, said):
    done = CliRunner().invoke(main, ["record", url, "--out", str(tmp_path / "r.jsonl")])

    assert done.exit_code == 2 and said in done.output and done.output.count("\n") == 1
    assert SECRET not in done.output and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("mode", "said"), [("html", "an HTML page"), ("empty", "JSON without memory"), ("500", "500")])
def test_an_address_that_is_no_metrics_is_refused_at_once(server, tmp_path, mode, said):
    server.mode = mode
    done = CliRunner().invoke(main, ["record", server.url, "--out", str(tmp_path / "r.jsonl")])

    assert done.exit_code == 2 and said in done.output and not list(tmp_path.iterdir())


def test_another_server_does_not_get_into_the_same_file(server, tmp_path):
    out = tmp_path / "r.jsonl"
    record(settings_of(server, for_s=0.2), out)
    before = out.read_text()
    with metrics_server() as other, pytest.raises(CapsimError, match=r"holds answers of .*; record .* into another"):
        record(settings_of(other, for_s=0.2), out)
    assert out.read_text() == before


def lines(*samples, source="http://a/api/metrics"):
    """A journal with samples given as (t_s, flushed)."""
    session = {"kind": "session", "format": 1, "source": source, "every_s": 5, "at": "2026-01-01T00:00:00.000Z"}
    made = [{"kind": "sample", "at": "2026-01-01T00:00:00Z", "t_s": t, "events_flushed": n} for t, n in samples]
    return "".join(json.dumps(line) + "\n" for line in (session, *made))


def test_duplicates_are_left_out_and_disorder_is_sorted_both_noted(tmp_path):
    (tmp_path / "r.jsonl").write_text(lines((0, 0), (10, 20), (5, 10), (5, 10), (15, 30)))
    recording = read_recording(tmp_path / "r.jsonl")

    assert recording.samples["time_s"].tolist() == [0, 5, 10, 15]
    assert recording.samples["events_flushed"].tolist() == [0, 10, 20, 30]
    assert {"1 sample went back in time and was sorted.", "1 duplicate samples were left out."} <= set(recording.notes)


def test_two_servers_in_one_file_are_refused(tmp_path):
    text = lines((0, 0), (5, 10)) + lines((0, 0), (5, 3), source="http://b/api/metrics")
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(CapsimError, match="of http://a/api/metrics and of http://b/api/metrics"):
        read_recording(tmp_path / "r.jsonl")


def test_two_samples_of_one_instant_that_differ_are_refused(tmp_path):
    (tmp_path / "r.jsonl").write_text(lines((0, 0), (5, 10), (5, 900)))
    with pytest.raises(CapsimError, match="two different samples of 2026-01-01T00:00:05Z"):
        read_recording(tmp_path / "r.jsonl")


def test_replicas_that_answer_in_turn_are_refused(tmp_path):
    (tmp_path / "r.jsonl").write_text(lines(*[(5 * i, 10 * i + 1_000 * (i % 2)) for i in range(40)]))
    with pytest.raises(CapsimError, match="answer in turn"):
        read_recording(tmp_path / "r.jsonl")


def test_a_folder_of_saved_answers_is_a_recording(tmp_path):
    for i, at in enumerate((1_700_000_000, 1_700_000_060, 1_700_000_120)):
        (tmp_path / f"{i}.json").write_text(json.dumps(answer(i * 50, at=at)))
    recording = read_recording(tmp_path)

    assert recording.samples["time_s"].tolist() == [0, 60, 120] and recording.every_s == 60
    assert recording.samples["events_flushed"].tolist() == [0, 50, 100]


@pytest.mark.parametrize("text", ["", "{}", "no json\n" * 9, '{"kind":"session"}\n'])
def test_a_file_that_is_no_recording_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "r.jsonl").write_text(text)
    with pytest.raises(CapsimError) as refused:
        read_recording(tmp_path / "r.jsonl")
    assert len(refused.value.problems) == 1 and "r.jsonl" in str(refused.value)


def test_a_line_of_any_length_is_read_in_pieces_and_counts_as_broken(tmp_path, monkeypatch):
    from capsim.workload.recordings import journal

    monkeypatch.setattr(journal, "LONGEST_LINE_BYTES", 1 << 10)
    head, *rest = lines((0, 0), (5, 10), (10, 20), (15, 30)).splitlines(keepends=True)
    long = '{"kind":"sample","x":"' + "y" * 5_000 + '"}\n'
    (tmp_path / "r.jsonl").write_text(head + rest[0] + long + "".join(rest[1:]) + long.strip())
    with pytest.raises(CapsimError, match="2 of 7 lines cannot be read"):
        read_recording(tmp_path / "r.jsonl")
    (tmp_path / "r.jsonl").write_text(head + rest[0] + long + "".join(rest[1:]))
    recording = read_recording(tmp_path / "r.jsonl")

    assert recording.samples["time_s"].tolist() == [0, 5, 10, 15]
    assert "1 line could not be read and went uncounted." in recording.notes


ROW = {"at": "2026-01-01T00:00:00Z", "count": 0, "why": "", "events_flushed": 0, "source": "http://a/"}


@pytest.fixture
def table(tmp_path):
    """A table with one cell changed, which has 30 rows of 5 s."""

    def made(column, value, row=3):
        import pandas as pd

        frame = pd.DataFrame([{**ROW, "time_s": 5 * i} for i in range(30)]).astype(object)
        frame.loc[row, column] = value
        frame.to_csv(tmp_path / "r.csv", index=False)
        return tmp_path / "r.csv"

    return made


@pytest.mark.parametrize(
    ("column", "value"),
    [("time_s", ""), ("time_s", "soon"), ("time_s", "1e300"), ("time_s", "inf"), ("time_s", -1e12), ("at", "soon")],
)
def test_a_row_of_a_table_whose_time_cannot_be_read_is_left_out(table, column, value):
    recording = read_recording(table(column, value, 0))

    assert len(recording.samples) == 29
    assert "1 line could not be read and went uncounted." in recording.notes


@pytest.mark.parametrize("column", ["at", "time_s"])
def test_a_table_whose_times_cannot_be_read_is_refused_in_one_line(table, column):
    with pytest.raises(CapsimError, match=r"r.csv: 30 of 30 lines cannot be read; is it a recording"):
        read_recording(table(column, "soon", slice(None)))


@pytest.mark.parametrize("value", ["lots", -1, 1e300, "inf", "9" * 400, "True"])
def test_a_number_of_a_table_that_can_be_none_is_named(table, value):
    recording = read_recording(table("events_flushed", value))

    assert recording.samples["events_flushed"].isna().tolist() == [i == 3 for i in range(30)]
    assert any(note.startswith("events_flushed was there and could not be read") for note in recording.notes)


@pytest.mark.parametrize("value", ["lots", -1, 1e300, [1], {"a": 1}, True])
def test_a_number_of_a_sample_that_can_be_none_is_named(tmp_path, value):
    text = lines((0, 0), (5, 10)) + lines((10, value)).splitlines()[1] + "\n"
    (tmp_path / "r.jsonl").write_text(text)
    recording = read_recording(tmp_path / "r.jsonl")

    assert recording.samples["events_flushed"].isna().tolist() == [False, False, True]
    assert any(note.startswith("events_flushed was there and could not be read") for note in recording.notes)


@pytest.mark.parametrize("every_s", [0, -5, 1e300, "soon", None])
def test_a_cadence_that_cannot_be_is_a_broken_line_and_the_samples_tell_it(tmp_path, every_s):
    head, *rest = lines((0, 0), (5, 10), (10, 20)).splitlines()
    head = json.dumps({**json.loads(head), "every_s": every_s})
    (tmp_path / "r.jsonl").write_text("\n".join([head, *rest]))
    recording = read_recording(tmp_path / "r.jsonl")

    assert recording.every_s == 5 and recording.samples["time_s"].tolist() == [0, 5, 10]
    assert recording.start_us == 1_767_225_600_000_000
    assert "1 line could not be read and went uncounted." in recording.notes


def test_samples_that_lie_decades_apart_are_refused(tmp_path):
    (tmp_path / "r.jsonl").write_text(lines((0, 0), (5, 10), (3e9, 20)))
    with pytest.raises(CapsimError, match="34,722 days lie between"):
        read_recording(tmp_path / "r.jsonl")


def test_a_saved_answer_that_is_no_kilobyte_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('"' + "x" * (1 << 20) + '"')
    with pytest.raises(CapsimError, match="larger than 1 MiB"):
        read_recording(tmp_path)


# --- addresses


def test_credentials_that_a_file_tells_go_nowhere(tmp_path):
    url = f"http://me:{SECRET}@a/api/metrics?token={SECRET}"
    (tmp_path / "r.jsonl").write_text(lines((0, 0), (5, 10), source=url))
    recording = read_recording(tmp_path / "r.jsonl")
    write_recording(recording, tmp_path / "r.csv")

    assert recording.source == "http://a/api/metrics?token=..."
    assert SECRET not in (tmp_path / "r.csv").read_text()


@pytest.mark.parametrize(
    "arguments",
    [["calibrate", "after", "URL"], ["calibrate", "URL", "node-80"], ["compare", "after", "URL"], ["run", "URL"],
     ["trace", "describe", "URL"], ["run", "after", "--trace", "URL"], ["record", "BARE", "--out", "r.csv"],
     ["record", "URL", "--out", "r.csv"], ["record", "URL", "URL", "--out", "r.csv"]],
    ids=" ".join,
)  # fmt: skip
def test_an_address_in_the_wrong_place_shows_no_credentials(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    bare = f"me:{SECRET}@127.0.0.1:1/api/metrics"
    places = {"URL": f"http://{bare}?token={SECRET}&x=y", "BARE": bare}
    done = CliRunner().invoke(main, [places.get(a, a) for a in arguments])

    assert done.exit_code == 2 and SECRET not in done.output and not list(tmp_path.iterdir())
    assert "127.0.0.1:1/api/metrics" in done.output and done.output.count("\n") == 1


def test_ctrl_c_keeps_what_there_is(server, tmp_path):
    out = tmp_path / "r.csv"
    command = [sys.executable, "-m", "capsim", "record", server.url, "--every", "100ms", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + 20
    while len(server.seen) < 6 and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)

    assert process.returncode == 130 and "samples" in said and "Traceback" not in said
    assert len(read_recording(Path(out)).samples) >= 3


@pytest.mark.parametrize("url", ["http://[::]@=]", "http://[::1]@]/api/metrics"])
def test_brackets_within_a_host_are_refused(url):
    with pytest.raises(CapsimError, match="cannot be read"):
        address_of(url)


def test_of_a_query_only_names_are_shown_and_these_as_they_were_given():
    shown = address_of(f"https://host/api/metrics?{SECRET}&%ff=1&key={SECRET}&").shown
    assert shown == "https://host/api/metrics?...&%ff=...&key=..."
