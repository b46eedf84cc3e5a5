"""Loads in the forms in which people have them: the right number in the right hour, or a refusal that helps.

``data/loads`` holds the first lines of each; the whole files, of 200 requests between 17:30 and 18:30, are read as well
where they are at hand.
"""

from __future__ import annotations

import gzip
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from click.testing import CliRunner

import capsim as cs
from capsim.base.errors import TraceError
from capsim.cli.trace import trace as command
from capsim.workload import Trace, read_requests, read_trace
from capsim.workload.instants import Stamps, iso
from capsim.workload.lines import hidden

LOADS = Path(__file__).parents[1] / "data" / "loads"
WHOLE = Path(__file__).parents[3] / "shared" / "cases" / "logs"  # beside the checkout, if it is there

READ = {  # file: requests in the first lines, requests in the whole file
    "apache_error_prefix.log": (12, 200),
    "apache_vhost_combined.log": (12, 200),
    "artillery.json": (23, 200),
    "bystatus.csv": (123, 123),  # the states of a minute together
    "caddy.json": (12, 200),
    "caddy_mixed.json": (6, 200),  # its certificates are no requests
    "clickhouse_tsv.tsv": (27, 200),
    "cloudflare_unixnano.ndjson": (12, 200),
    "cloudwatch_getmetricdata.json": (23, 200),
    "datadog.csv": (11, 200),
    "datadog_ms.csv": (11, 200),
    "docker_json.log": (12, 200),
    "elb_classic.log": (12, 200),
    "envoy.log": (12, 200),
    "excel_de_iso_comma.csv": (27, 200),
    "excel_de_ts.csv": (27, 200),
    "excel_thousands.csv": (11_027, 60_200),  # 1,005 a minute
    "fastly_json.log": (12, 200),
    "fastly_syslog.log": (12, 200),
    "fluentd.ndjson": (12, 200),
    "gcp_lb.ndjson": (12, 200),
    "gcp_lb_array.json": (8, 200),
    "grafana_series_to_cols.csv": (27, 200),
    "gunicorn.log": (12, 200),
    "heroku_router.log": (6, 200),
    "iis_w3c.log": (8, 200),
    "k6.csv": (11, 200),
    "k8s_cri.log": (12, 200),
    "morgan_combined.log": (12, 200),
    "nginx_json_escape_bad.log": (12, 200),
    "nginx_json_iso.log": (12, 200),
    "nginx_json_msec.log": (12, 200),
    "pandas_nan.csv": (26, 183),  # rows without a number are no zeros
    "pandas_tz.csv": (27, 200),
    "pandas_unnamed_index.csv": (27, 200),
    "prom_counter_noname.json": (27, 200),
    "prom_rate.json": (30, 200),
    "railway_deploy.ndjson": (6, 100),  # every other line is the server's own
    "railway_http.ndjson": (12, 200),
    "railway_logexplorer_array.json": (8, 200),
    "rfc2822.csv": (11, 200),
    "rpm.csv": (120, 120),
    "rps.csv": (126, 126),  # 0.5, 0.7 and 0.9 a second
    "traefik_clf.log": (12, 200),
    "winston.ndjson": (12, 200),
    "wrk2_gatling_simulation.log": (11, 200),
}
REFUSED = {
    "excel_utf16.txt": "iconv -f UTF-16",
    "fraction.csv": "--as rate",
    "grafana_semicolon_excel.csv": "column rate .* --as count",
    "hey.csv": "hey's CSV.*awk",
    "k6_summary.json": "k6's summary; run k6 with --out json",
    "morgan_dev.log": "no time; use morgan.*docker logs --timestamps",
    "postgres_csvlog_utc.csv": "Postgres' csvlog.*--format events",
    "prom_vector.json": "query_range",
}


def every(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        pytest.skip("the whole files are not at hand")
    return folder / name


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("name", READ)
def test_a_load_has_its_requests_in_the_right_hour(name, whole):
    trace = read_trace(every(WHOLE if whole else LOADS, name))

    assert trace.total == READ[name][whole]
    assert iso(trace.start_us)[:18] == "2026-03-02T17:30:0"
    assert iso(trace.end_us)[:14] in ("2026-03-02T17:", "2026-03-02T18:")
    left_out = any("no requests" in note or "without a number" in note for note in trace.notes)
    assert left_out == (name in ("caddy_mixed.json", "heroku_router.log", "pandas_nan.csv", "railway_deploy.ndjson",
                                 "wrk2_gatling_simulation.log"))  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_another_is_refused_with_what_to_do_and_no_address_of_anybody(name):
    with pytest.raises(TraceError, match=REFUSED[name]) as refused:
        read_trace(LOADS / name)

    assert not re.search(r"\d+\.\d+\.\d+\.\d+", str(refused.value).replace(str(LOADS), ""))


def test_every_file_is_in_one_of_the_tables():
    assert {path.name for path in LOADS.iterdir()} == {*READ, *REFUSED, "dst_spring.csv"}


# --- what a refusal advises works -----------------------------------------------------------------------------------


def test_following_the_advice_works(tmp_path):
    assert read_trace(LOADS / "fraction.csv", as_="rate").total == 120
    assert read_trace(LOADS / "grafana_semicolon_excel.csv", as_="rate").total == 27
    assert read_trace(LOADS / "postgres_csvlog_utc.csv", format="events").total == 12
    text = (LOADS / "excel_utf16.txt").read_text(encoding="utf-16")
    (tmp_path / "text").write_text(text)
    assert read_trace(tmp_path / "text").total == sum(int(line.split()[-1]) for line in text.splitlines()[1:])
    lines = (LOADS / "morgan_dev.log").read_text().splitlines()
    stamped = "".join(f"2026-03-02T17:{30 + n}:00.123456789Z {line}\n" for n, line in enumerate(lines))
    (tmp_path / "docker.log").write_text(stamped)
    assert read_trace(tmp_path / "docker.log").total == 12


@pytest.mark.skipif(not (shutil.which("awk") and shutil.which("date")), reason="awk and GNU's date are needed")
def test_the_command_for_heys_offsets_works(tmp_path):
    shutil.copy(LOADS / "hey.csv", tmp_path / "FILE")
    with pytest.raises(TraceError) as refused:
        read_trace(tmp_path / "FILE")
    (line,) = re.findall(r"\(echo timestamp; .*? > events\.csv", str(refused.value))
    if subprocess.run(line, shell=True, cwd=tmp_path, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this date knows no -d")

    trace = read_trace(tmp_path / "events.csv")

    assert (trace.total, iso(trace.start_us)) == (11, "2026-03-02T17:30:00Z")


# --- numbers beside stamps ------------------------------------------------------------------------------------------


def table(folder: Path, header: str, *rows: str) -> Path:
    stamps = (f"2026-03-02T17:{30 + n}:00Z" for n in range(len(rows)))
    path = folder / "a.csv"
    path.write_text(header + "\n" + "".join(f"{stamp},{row}\n" for stamp, row in zip(stamps, rows, strict=True)))
    return path


@pytest.mark.parametrize(
    ("header", "total"), [("timestamp,reqs", 210), ("t,requests", 210), ("time,rps", 12_600), ("Time,req/s", 12_600)]
)
def test_a_column_whose_name_says_what_it_counts_is_read(tmp_path, header, total):
    assert read_trace(table(tmp_path, header, "50", "70", "90")).total == total


@pytest.mark.parametrize("header", ["timestamp,visitors", "time,value", "Zeit,Anfragen", "Time,total", "t,heap"])
def test_a_column_without_a_unit_is_asked_about_and_the_answer_decides(tmp_path, header):
    path = table(tmp_path, header, "50", "70", "90")
    with pytest.raises(TraceError, match=r"may be anything; say what they are .*--as count"):
        read_trace(path)

    assert read_trace(path, as_="count").total == 210
    assert read_trace(path, as_="rate").total == 12_600
    assert read_trace(path, as_="counter").counts.tolist() == [20, 20]
    assert read_trace(path, format="events").total == 3


def test_of_several_columns_one_is_chosen(tmp_path):
    path = table(tmp_path, "timestamp,visitors,pageviews", "5,50", "7,70", "9,90")
    with pytest.raises(TraceError, match=r"columns visitors, pageviews .*--value"):
        read_trace(path)
    with pytest.raises(TraceError, match="visitors, pageviews; name the one"):
        read_trace(path, as_="count")

    assert read_trace(path, as_="count", value="pageviews").total == 210


def test_a_running_total_called_count_is_asked_about(tmp_path):
    path = table(tmp_path, "timestamp,count", *map(str, range(1000, 1012)))
    with pytest.raises(TraceError, match=r"only rise.*--as counter"):
        read_trace(path)

    assert read_trace(path, as_="counter").total == 11
    assert read_trace(path, as_="count").total == sum(range(1000, 1012))


def test_a_request_a_row_with_numbers_of_its_own_is_no_count(tmp_path):
    rows = ["200,12", "404,3", "200,7"]

    assert read_trace(table(tmp_path, "timestamp,status,duration_ms", *rows)).kind == "events"


@pytest.mark.parametrize("cell", ["1.005", "1,005"])
def test_thousands_or_a_fraction_beside_semicolons_is_not_guessed(tmp_path, cell):
    path = tmp_path / "a.csv"
    path.write_text(f"timestamp;count\n2026-03-02 17:30;{cell}\n2026-03-02 17:31;7\n")

    with pytest.raises(TraceError, match="thousands or a fraction"):
        read_trace(path)


# --- dates and clocks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "02.03.2026 17:30", "02.03.2026 17:30:00", "Mon, 02 Mar 2026 17:30:00 GMT", "Mar 02 2026, 17:30:00.000",
        "2026/03/02 17:30:00", "02-Mar-2026 17:30:00", "Mar 2, 2026 5:30:00 PM", "Mon Mar  2 17:30:00 2026",
        "02/Mar/2026:17:30:00.000", "2026-03-02 17:30:00 UTC", "2026-03-02 19:30:00 +0200", "3/2/2026 5:30 PM",
    ],
)  # fmt: skip
def test_dates_are_read_as_they_are_written(text):
    assert iso(Stamps()(text)) == "2026-03-02T17:30:00Z"


def test_the_order_of_day_and_month_is_found_said_or_asked(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("timestamp\n3/2/2026 17:30\n4/2/2026 17:30\n")
    with pytest.raises(TraceError, match="--dates dmy"):
        read_trace(path)
    assert iso(read_trace(path, dates="dmy").start_us) == "2026-02-03T17:30:00Z"
    path.write_text("timestamp\n3/2/2026 17:30\n3/13/2026 17:30\n")

    trace = read_trace(path)

    assert iso(trace.start_us) == "2026-03-02T17:30:00Z"
    assert any("month before day" in note for note in trace.notes)


def test_a_leap_second_is_a_time():
    assert iso(Stamps()("2016-12-31T23:59:60Z")) == "2017-01-01T00:00:00Z"


def test_the_hour_that_comes_twice_is_two_hours_and_is_named(tmp_path):
    path = tmp_path / "a.csv"
    times = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    path.write_text("timestamp,count\n" + "".join(f"2026-10-25 {time},5\n" for time in times))

    trace = read_trace(path, zone="Europe/Berlin")

    assert (trace.total, trace.gaps, trace.width_us) == (30, (), 1_800_000_000)
    assert any("Europe/Berlin went back on 2026-10-25" in note for note in trace.notes)
    with pytest.raises(TraceError, match="if the clocks went back there"):
        read_trace(path)


def test_the_hour_that_never_was_is_no_gap():
    assert read_trace(LOADS / "dst_spring.csv").gaps
    assert not read_trace(LOADS / "dst_spring.csv", zone="Europe/Berlin").gaps


# --- what is a request ----------------------------------------------------------------------------------------------


def test_where_counts_other_lines(tmp_path):
    whole = LOADS / "caddy_mixed.json"

    assert read_trace(whole, where="logger=tls").total == 6
    assert read_trace(whole, where="ts").total == 12
    with pytest.raises(TraceError, match="none of its 12 lines has 'logger=x'"):
        read_trace(whole, where="logger=x")
    with pytest.raises(TraceError, match="grep the lines first"):
        read_trace(LOADS / "gunicorn.log", where="a=b")
    assert read_trace(LOADS / "datadog.csv", where="@http.status_code=200").total == 11


def test_a_request_logged_when_it_comes_and_when_it_is_answered_counts_once(tmp_path):
    path = tmp_path / "fastify.log"
    came = '{"time":177247260%d000,"reqId":"r","req":{"method":"GET","url":"/"},"msg":"incoming request"}\n'
    answered = '{"time":177247260%d005,"reqId":"r","res":{"statusCode":200},"responseTime":5,"msg":"completed"}\n'
    path.write_text("".join(came % n + answered % n for n in range(4)))

    assert read_trace(path).total == 4


def test_what_json_of_many_servers_says_of_a_request():
    said = {}
    for name in ("caddy.json", "nginx_json_iso.log", "railway_http.ndjson", "docker_json.log", "gcp_lb.ndjson",
                 "railway_deploy.ndjson", "heroku_router.log", "elb_classic.log", "envoy.log"):  # fmt: skip
        r = read_requests(LOADS / name)
        first = r.route[0], r.status[0], r.response_bytes[0], r.duration_us[0]
        said[name] = (*r.routes[first[0]], *map(int, first[1:]))
    assert said == {
        "caddy.json": ("GET", "/", 200, 12, 818_000),
        "nginx_json_iso.log": ("POST", "/api", 200, 12, 12_000),
        "railway_http.ndjson": ("GET", "/api", 200, 512, 818_000),
        "docker_json.log": ("GET", "/", 200, 5, -1),
        "gcp_lb.ndjson": ("GET", "/", 200, -1, 100_000),
        "railway_deploy.ndjson": ("POST", "/api", 200, -1, 818_000),
        "heroku_router.log": ("GET", "/", 200, 12, 818_000),
        "elb_classic.log": ("GET", "/", 200, 29, 1_178),
        "envoy.log": ("GET", "/ping", 200, 154, 818_000),
    }


# --- several files, standard input, tables --------------------------------------------------------------------------


def test_rotated_and_packed_files_in_any_order_are_one_load(tmp_path):
    lines = (LOADS / "gunicorn.log").read_bytes().splitlines(True)
    parts = [tmp_path / name for name in ("access.log", "access.log.1", "access.log.2.gz")]
    parts[0].write_bytes(b"".join(lines[8:]))
    parts[1].write_bytes(b"".join(lines[4:8]))
    parts[2].write_bytes(gzip.compress(b"".join(lines[:4])))
    whole = read_trace(LOADS / "gunicorn.log")

    one, other = read_trace(parts), read_trace(parts[::-1])

    assert one.times_us.tolist() == other.times_us.tolist() == whole.times_us.tolist()
    assert (one.sha256, one.name, one.out_of_order) == (other.sha256, "access", 0)
    assert len(read_requests(parts).route) == 12
    with pytest.raises(TraceError, match="two of the files are the same"):
        read_trace([parts[0], parts[0]])
    with pytest.raises(TraceError, match="counts and the other files requests"):
        read_trace([parts[0], LOADS / "pandas_tz.csv"])


def test_counts_of_several_files_have_one_width_and_do_not_overlap(tmp_path):
    minutes, hours = tmp_path / "a.csv", tmp_path / "b.csv"
    minutes.write_text("timestamp,count\n2026-03-02T17:30Z,5\n2026-03-02T17:31Z,6\n")
    hours.write_text("timestamp,count\n2026-03-02T18:00Z,5\n2026-03-02T19:00Z,6\n")

    with pytest.raises(TraceError, match="several widths"):
        read_trace([hours, minutes])
    hours.write_text("timestamp,count\n2026-03-02T17:31Z,5\n2026-03-02T17:32Z,6\n")
    with pytest.raises(TraceError, match="cannot be put together"):
        read_trace([hours, minutes])
    hours.write_text("timestamp,count\n2026-03-02T17:32Z,5\n2026-03-02T17:33Z,6\n")
    assert read_trace([hours, minutes]).counts.tolist() == [5, 6, 5, 6]


def test_standard_input_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO((LOADS / "gunicorn.log").read_bytes())))
    assert read_trace("-").total == 12
    done = CliRunner().invoke(command, ["describe", "-"], input=(LOADS / "gunicorn.log").read_bytes())
    assert done.exit_code == 0 and "stdin" in done.output
    with pytest.raises(TraceError, match=r"^standard input: ") as refused:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"timestamp,x\nno,1\n")))
        read_trace("-")
    assert "/tmp" not in str(refused.value)


def test_a_table_of_pandas_is_a_load():
    minutes = pd.date_range("2026-03-02 17:30", periods=3, freq="min", tz="Europe/Berlin")
    counts = Trace.from_frame(pd.Series([5, 7, 0], minutes, name="mine"))

    assert (counts.name, counts.kind, iso(counts.start_us)) == ("mine", "counts", "2026-03-02T16:30:00Z")
    for trace in (counts, Trace.from_times("x", [0, 5_000_000], 1_000_000)):
        again = Trace.from_frame(trace.to_frame())
        assert again.to_frame().equals(trace.to_frame())
    assert Trace.from_frame(minutes.to_series(name="at")).kind == "events"
    assert Trace.from_frame(minutes).kind == "events"
    assert Trace.from_frame(pd.DataFrame({"at": minutes, "hits": [1, 2, 3], "x": [9, 9, 9]}), time="at").total == 6
    assert Trace.from_frame(pd.Series([0.5, 0.5, 1], minutes), as_="rate").total == 120
    with pytest.raises(TraceError, match="as_='rate'"):
        Trace.from_frame(pd.Series([0.5, 0.5, 1], minutes))
    with pytest.raises(TraceError, match="name the one that holds the requests"):
        Trace.from_frame(pd.DataFrame({"a": [1, 2, 3], "b": [1, 2, 3]}, minutes))
    with pytest.raises(TraceError, match="is no table of a load"):
        Trace.from_frame({"a": 1})


def test_a_table_of_pandas_can_be_simulated_at_once():
    minutes = pd.date_range("2026-03-02T17:30Z", periods=3, freq="min")

    run = cs.simulate(cs.load("after"), pd.Series([30, 40, 50], minutes), month=False)

    assert int(run.samples.requests.sum()) == 120


# --- what messages show ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        '192.0.2.77 - frank [02/Mar/2026:17:30:00 +0000] "GET /a?token=hush HTTP/1.1" 200 5',
        "Mar 12 17:30:00 web1 haproxy[1234]: 192.0.2.77:3444 oddly frank@example.com",
        "2001:db8::77 x user=frank password=hush",
        '{"user": "frank", "ip": "192.0.2.77"}',
    ],
)
def test_addresses_users_and_secrets_are_hidden(line):
    assert not re.search("77|frank|hush", hidden(line))


def test_a_time_is_not_taken_for_an_address():
    assert "[02/Mar/2026:17:30:00.000]" in hidden("x [02/Mar/2026:17:30:00.000] y")
