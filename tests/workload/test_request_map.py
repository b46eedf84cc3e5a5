"""What the lines of a log say is used: which path is what, and the mix, the reads and their rhythm that follow."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from capsim.base.errors import ScenarioError, TraceError
from capsim.cli import main
from capsim.results.run import simulate
from capsim.scenario.file import load, loads
from capsim.scenario.request_kinds import KINDS
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.workload import Trace, load_of, read_requests, read_trace
from capsim.workload.asked import asked
from capsim.workload.paths import path_of, without_names
from capsim.workload.recorded import as_recorded, read_load
from capsim.workload.request_map import RequestMap, mapped, notes, proposed, rows
from logs import DAYS, NIGHT, SECRETS, json_lines, nginx, requests

HOUR_US = 3_600_000_000
MAP = {
    "POST /api/v1/events": "event",
    "PUT /api/sessions/:id/heartbeat": "heartbeat",
    "POST /api/purchases": "revenue",
    "GET /api/dashboard/*": "read",
}


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "access.log"
    path.write_text("".join(line for _, line in nginx(requests()[0])))
    return path


def scenario(**workload) -> Scenario:
    return Scenario(name="x", workload=workload, billing={"from": "2026-02-03"})


def capsim(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


# --- paths


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/api/users/123/games/-4.5", "/api/users/:number/games/:number"),
        ("/s/3fa85f64-5717-4562-b3fc-2c963f66afa6", "/s/:uuid"),
        ("/s/3FA85F6457174562B3FC2C963F66AFA6/x", "/s/:uuid/x"),
        ("/o/507f1f77bcf86cd799439011", "/o/:id"),
        ("/f/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/f/:id"),
        ("/game/user_123/level-3", "/game/:id/:id"),
        ("/day/2026-03-02", "/day/:date"),
        ("/assets/index-BfG3kX9a.css", "/assets/:id"),
        ("//api///v1/events/", "/api/v1/events"),
        ("/api/v1.2/oauth2/getUserNotificationSettings", "/api/v1.2/oauth2/getUserNotificationSettings"),
        ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/*"),
        ("/x;jsessionid=AB12?y=1", "/x"),
        ("/" + "long" * 20, "/:text"),
        ("\\x16\\x03", "-"),
    ],
)
def test_what_differs_from_request_to_request_is_a_parameter(target, path):
    assert path_of(target) == path
    assert path_of(path) == path  # what is a pattern already stays


@pytest.mark.parametrize(
    "target",
    [
        "/users/alice/events", "/u/alice", "/invite/alice", "/reset-password/alice", "/hooks/T0/B0/alice", "/@alice",
        "/~alice/x", "/p/alice@example.org", "/p/alice%40example.org", "/a?user=alice", "/a;s=alice", "http://alice:x@h/",
        "/t/eyJhbGciOiJIUzI1NiJ9.alice.alice", "/k/sk_live_alicealice", "/ip/203.0.113.7", "/ip/2001:db8::1",
    ],
)  # fmt: skip
def test_nobody_is_named_and_no_token_is_told(target):
    path = path_of(target)
    assert not any(secret in path for secret in ("alice", "203.0.113", "2001"))


def test_names_of_endpoints_stay_where_a_name_could_be():
    assert path_of("/users/me/events") == "/users/me/events"
    assert path_of("/purchases/verify/receipt") == "/purchases/verify/receipt"


def test_names_that_only_their_number_gives_away_are_a_parameter():
    words = [f"{a}{b}rt" for a in "bcdfghjklmnp" for b in "aeioubcdfgh"]
    many = {("GET", f"/shop/{word}/buy"): 1 for word in words} | {("GET", "/shop/list/buy"): 1, ("GET", "/shop"): 9}

    paths = without_names(many)

    assert set(paths.values()) == {"/shop/:name/buy", "/shop/list/buy", "/shop"}
    few = dict(list(many.items())[:50])
    assert without_names(few) == {route: route[1] for route in few}


# --- what a path is


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/api/events", "event"),
        ("POST", "/api/analytics/events/batch", "event"),
        ("POST", "/:number/httpapi", "event"),
        ("GET", "/collect", "event"),
        ("GET", "/pixel.gif", "event"),
        ("POST", "/api/sessions/:uuid/heartbeat", "heartbeat"),
        ("PATCH", "/presence", "heartbeat"),
        ("POST", "/api/analytics/heartBeat", "heartbeat"),
        ("GET", "/api/players/:id/ping", "heartbeat"),
        ("POST", "/api/revenue", "revenue"),
        ("POST", "/api/analytics/iap/receipt", "revenue"),
        ("POST", "/api/orders/search", "read"),
        ("POST", "/api/events/query", "read"),
        ("GET", "/api/dashboard/players", "read"),
        ("GET", "/api/events", "read"),
        ("GET", "/v2/games/:number", "read"),
        ("GET", "/stats.php", "read"),
        ("GET", "/ping", "other"),
        ("GET", "/api/health/db", "other"),
        ("GET", "/metrics", "other"),
        ("GET", "/static/dashboard.js", "other"),
        ("GET", "/socket.io", "other"),
        ("GET", "/", "other"),
        ("OPTIONS", "/api/events", "other"),
        ("POST", "/api/login", "other"),
        ("POST", "/api/sessions", "other"),
    ],
)
def test_a_proposal_follows_the_words_of_a_path_and_says_why(method, path, kind):
    said = proposed(method, path)

    assert (KINDS[said.kind], said.known) == (kind, True)
    assert said.why


@pytest.mark.parametrize("route", [("POST", "/api/frobnicate"), ("GET", "/shop/:name"), ("DELETE", "/api/events/:id")])
def test_what_no_word_tells_is_other_and_not_known(route):
    assert (KINDS[proposed(*route).kind], proposed(*route).known) == ("other", False)


def test_the_unknown_and_the_refused_are_told(log):
    found = read_requests(log)

    told = " ".join(notes(rows(found), len(found.route)))

    assert "POST /api/frobnicate (2 %)" in told and "refused or redirected" in told
    assert "wp-login" not in told and "healthz" not in told  # refused, and known
    refused_only = next(row for row in rows(found) if row.path == "/wp-login.php")
    assert (KINDS[refused_only.kind], refused_only.why) == ("other", "always refused or redirected")


def test_a_map_fits_parameters_by_place_and_the_longest_path_counts():
    found = RequestMap({**MAP, "GET /api/dashboard/health": "other", "/any": "event", "POST *": "read"})

    def kind(method, path):
        place = found.kind(method, path)
        return None if place is None else KINDS[place]

    assert kind("PUT", "/api/sessions/:uuid/heartbeat") == "heartbeat"
    assert kind("GET", "/api/dashboard/x/y") == kind("GET", "/api/dashboard") == "read"
    assert kind("GET", "/api/dashboard/health") == "other"
    assert kind("HEAD", "/any") == "event"
    assert kind("POST", "/whatever") == "read"
    assert kind("GET", "/api") is None and kind("GET", "-") is None
    assert RequestMap({"/players/{id}/x": "event"}).kind("GET", "/players/:user/x") == 0


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"api/events": "event"}, "'api/events' is no method and path"),
        ({"POST /api/events?x": "event"}, "the query is not looked at"),
        ({"post /a": "event"}, "is no method and path"),
        ({"POST /a": "evnet"}, "POST /a is 'evnet', which no request is; give one of event, revenue, heartbeat"),
    ],
)
def test_a_wrong_map_is_refused_in_words(table, says):
    lines = "".join(f'"{key}" = "{kind}"\n' for key, kind in table.items())
    text = f'name = "x"\n[workload]\ntrace = "game-day"\n[workload.requests]\n{lines}[billing]\nfrom = "2026-02-03"\n'

    with pytest.raises(ScenarioError) as caught:
        loads(text, "x.toml")

    assert says in str(caught.value) and "x.toml: [workload.requests]" in str(caught.value)


def test_a_map_and_sessions_would_send_heartbeats_twice():
    with pytest.raises(ValueError, match="leave one out"):
        scenario(trace="x", requests=MAP, sessions={})


def test_a_scenario_without_a_map_is_dumped_as_before():
    assert "requests" not in scenario(trace="x").model_dump()["workload"]
    assert scenario(trace="x", requests=MAP).model_dump()["workload"]["requests"] == MAP


# --- the load that follows


def test_the_load_has_the_counts_of_the_log_kind_by_kind(log):
    _, what = requests()
    trace = read_load(str(log), scenario(trace="x", requests=MAP).workload)
    blocks = list(load_of(scenario(trace="x", requests=MAP), trace, seed=3).blocks())

    arrived = {stream: sum(block.times[stream].size for block in blocks) for stream in STREAMS}
    assert arrived == {"events": what["event"], "revenue": what["revenue"], "heartbeats": what["heartbeat"]}
    assert sum(block.queries_us.size for block in blocks) == what["read"]
    assert sum(block.requests + block.queries_us.size for block in blocks) == trace.total
    for block in blocks:
        for times in (*block.times.values(), block.other_us, block.queries_us):
            assert (np.diff(times) >= 0).all() and ((times >= block.from_us) & (times < block.to_us)).all()


def test_reads_come_when_the_log_has_them(log):
    trace = read_load(str(log), scenario(trace="x", requests=MAP).workload)
    shift_us = trace.start_us % (24 * HOUR_US)
    blocks = load_of(scenario(trace="x", requests=MAP, queries_hz=9), trace, until_us=2 * trace.span_us).blocks()

    reads_us = np.concatenate([block.queries_us for block in blocks])
    second = reads_us >= trace.span_us  # the load once more
    hours = ((reads_us - second * trace.span_us + shift_us) // HOUR_US) % 24
    assert set(hours.tolist()) == set(NIGHT)
    assert reads_us.size == 2 * requests()[1]["read"]


def test_a_scale_is_of_every_kind(log):
    mapping = scenario(trace="x", requests=MAP)
    trace = read_load(str(log), mapping.workload)
    blocks = list(load_of(mapping.replace("workload.scale", 3), trace).blocks())

    assert sum(block.queries_us.size for block in blocks) == 3 * requests()[1]["read"]
    assert sum(block.times["revenue"].size for block in blocks) == 3 * requests()[1]["revenue"]


def test_mix_and_reads_of_the_scenario_are_those_of_the_log(log):
    _, what = requests()
    trace = read_load(str(log), scenario(trace="x", requests=MAP).workload)

    workload = as_recorded(scenario(trace="x", requests=MAP, queries_hz=9), trace).workload

    items = what["event"] + what["revenue"] + what["heartbeat"]
    assert workload.mix.events == pytest.approx(what["event"] / items)
    assert workload.queries_hz == pytest.approx(what["read"] / (trace.span_us / 1e6))


def test_a_window_and_a_repetition_keep_what_requests_are(log):
    trace = read_load(str(log), scenario(trace="x", requests=MAP).workload)
    day = trace.window("24h", "48h")

    assert len(day.kinds) == day.total < trace.total
    assert (day.kinds == trace.kinds[(trace.times_us >= day.start_us) & (trace.times_us < day.end_us)]).all()
    assert trace.repeat(2).kinds.tolist() == trace.kinds.tolist() * 2


def test_out_of_order_lines_keep_what_they_are(tmp_path):
    lines = [line for _, line in nginx(requests(number=500)[0])]
    straight, mixed = tmp_path / "a.log", tmp_path / "b.log"
    straight.write_text("".join(lines))
    mixed.write_text("".join(lines[250:] + lines[:250]))
    one, other = (mapped(read_requests(path), MAP) for path in (straight, mixed))

    order = [np.lexsort((trace.kinds, trace.times_us)) for trace in (one, other)]  # of one second in any order
    assert (one.kinds[order[0]] == other.kinds[order[1]]).all()


def test_a_load_without_items_has_no_peak_and_runs(tmp_path, log):
    table = {"GET /api/dashboard/*": "read"}
    run = simulate(scenario(trace=str(log), requests=table), month=False)

    assert run.accounting().arrived.sum() == 0
    assert run.samples["queries"].sum() == requests()[1]["read"]


def test_a_load_that_does_not_say_what_was_asked_is_divided_as_before_and_told():
    mapping = scenario(trace="game-day", requests=MAP)
    trace = read_trace_of_day()

    load_, plain = load_of(mapping, trace, seed=1), load_of(scenario(trace="game-day"), trace, seed=1)
    first, same = next(load_.blocks()), next(plain.blocks())
    assert all((first.times[stream] == same.times[stream]).all() for stream in STREAMS)
    assert any("[workload.requests] is not used" in line for line in simulate(mapping, trace, month=False).warnings)


def read_trace_of_day() -> Trace:
    return Trace.from_counts("day", [0, 60_000_000], [60, 90], 60_000_000)


# --- from a log to a scenario


def rotated(folder, lines):
    """The lines as files of a day each, the oldest packed."""
    folder.mkdir()
    days = ["".join(line for at_s, line in lines if at_s // 86_400 == day) for day in range(DAYS)]
    for name, day in (("access.log", 2), ("access.log.1", 1)):
        (folder / name).write_text(days[day])
    (folder / "access.log.2.gz").write_bytes(gzip.compress(days[0].encode()))
    return sorted(folder.iterdir())


@pytest.mark.parametrize("written", [nginx, json_lines])
def test_from_a_log_to_a_scenario_and_its_run_without_editing_a_number(tmp_path, monkeypatch, written):
    monkeypatch.chdir(tmp_path)
    made, what = requests()
    files = rotated(tmp_path / "logs", written(made))
    service = tmp_path / "service"
    service.mkdir()
    (service / "package.json").write_text(json.dumps({"scripts": {"start": "node --max-old-space-size=512 server.js"}}))
    (service / "railway.json").write_text(json.dumps({"deploy": {"numReplicas": 2, "drainingSeconds": 20}}))
    inspected = capsim("inspect", "service", "--write", "mine.toml", "--on", "2026-03-02")
    assert inspected.exit_code == 0, inspected.stderr
    limits, remarks = load("mine.toml").server, (tmp_path / "mine.toml").read_text().count("#")

    told = capsim("trace", "describe", *files, "--into", "mine.toml")

    assert told.exit_code == 0, told.stderr
    assert "POST /api/frobnicate" in told.stdout
    text = (tmp_path / "mine.toml").read_text()
    assert not any(secret in text + told.stdout + told.stderr for secret in SECRETS)
    mine, items = load("mine.toml"), what["event"] + what["revenue"] + what["heartbeat"]
    assert mine.workload.trace.endswith("access.log*")
    assert (mine.server.node, mine.server.process) == (limits.node, limits.process)  # the folder's
    assert (mine.server.node.heap_cap_mib, mine.server.process.replicas) == (512, 2)
    assert "of the example" not in text.partition("[workload]")[0].splitlines()[-1]  # the log says it now
    assert text.count("#") > remarks  # those of what the log does not speak of stay
    assert mine.workload.mix.events == pytest.approx(what["event"] / items, abs=1e-5)
    assert mine.workload.queries_hz == pytest.approx(what["read"] / (DAYS * 86_400), rel=0.01)
    sizes = [row[4] for row in made if row[1] == "GET" and "dashboard" in row[2]]
    queries, query = mine.server.queries, mine.database.query
    assert queries.rows_median * queries.row_json_bytes == pytest.approx(np.median(sizes), rel=1e-3)
    assert queries.rows_sigma == pytest.approx(0.5, rel=0.1)
    own_ms = queries.cpu_ms + queries.rows_median * (queries.row_cpu_ms + query.row_ms)
    assert own_ms + query.call_ms == pytest.approx(60, rel=1e-3)

    run = simulate(mine, month=False)
    arrived = run.accounting().set_index("writer")["arrived"]
    assert arrived.to_dict() == {
        "events": what["event"], "revenue": what["revenue"], "heartbeats": what["heartbeat"]
    }  # fmt: skip
    assert run.samples["queries"].sum() == what["read"]
    assert capsim("run", "mine.toml", "--fidelity", "law").exit_code == 2  # a log is no law, as ever

    again = capsim("trace", "describe", *files, "--into", "mine.toml")
    assert again.exit_code == 0 and (tmp_path / "mine.toml").read_text() == text


def test_a_map_that_was_corrected_is_kept_and_the_rest_follows_it(tmp_path, monkeypatch, log):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(capsim("scenario", "show", "after").stdout)
    assert capsim("trace", "describe", log, "--into", "mine.toml").exit_code == 0
    text = (tmp_path / "mine.toml").read_text()
    wrong, right = (f'"POST /api/purchases" = "{kind}"' for kind in ("revenue", "other"))
    (tmp_path / "mine.toml").write_text(text.replace(wrong, right))

    told = capsim("trace", "describe", log, "--into", "mine.toml")

    assert told.exit_code == 0
    assert load("mine.toml").workload.requests["POST /api/purchases"] == "other"
    assert load("mine.toml").workload.mix.revenue == 0


def test_a_log_takes_the_place_of_a_rate_and_of_sessions(tmp_path, monkeypatch, log):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\n[workload]\nrate_hz = 5\nduration_s = 60\n[workload.sessions]\nabandoned = 0.1\n'
        '[billing]\nfrom = "2026-02-03"\n'
    )

    assert capsim("trace", "describe", log, "--into", "mine.toml").exit_code == 0

    workload = load("mine.toml").workload
    assert (workload.rate_hz, workload.duration_s, workload.sessions) == (None, None, None)
    assert Path(workload.trace) == Path("access.log")


def test_what_cannot_be_put_into_a_scenario_is_refused_and_leaves_it_alone(tmp_path, monkeypatch, log):
    monkeypatch.chdir(tmp_path)
    text = capsim("scenario", "show", "after").stdout
    (tmp_path / "mine.toml").write_text(text)
    (tmp_path / "probes.log").write_text("".join(line for _, line in nginx([(1.0, "GET", "/healthz", 200, 1, 0.1)])))
    for arguments, says in (
        (["game-day", "--into", "mine.toml"], "a log whose lines say method and path"),
        ([log, "--into", "none.toml"], "make one first"),
        ([log, "--into", "mine.toml", "--from", "1d"], "leave --from and --to out"),
        (["probes.log", "--into", "mine.toml"], "no request of it is an event"),
    ):
        refused = capsim("trace", "describe", *arguments)
        assert refused.exit_code == 2 and says in refused.stderr, refused.stderr
    assert (tmp_path / "mine.toml").read_text() == text
    with pytest.raises(TraceError):
        read_requests(tmp_path / "mine.toml")


def test_what_was_asked_is_a_table(log):
    table = asked(read_requests(log)).set_index("path")

    assert table.loc["/api/v1/events", "taken_for"] == "event"
    assert table["share"].sum() == pytest.approx(1)
    assert table.loc["/api/sessions/:number/heartbeat", "duration_median_ms"] == 3
    assert read_requests(log).window("1d", "2d").trace.total < len(read_requests(log).route)
    assert read_trace(log).kinds is None
