"""Every door through which other people's bytes come in, as a function of bytes.

A parser answers with a result or refuses with one `CapsimError`; any other exception is a bug, and so is a hang or
memory without bounds. `run.py` looks for such bytes; what it found stays in ``corpus/`` and is read again by
``tests/house/test_fuzz.py``.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tomlkit

# All that a parser imports when it is used, so that `run.py` sees into it.
import capsim.cli.sweep as sweep_command
import capsim.telemetry.inspect.effective
import capsim.telemetry.inspect.report
import capsim.workload.access_log
import capsim.workload.parquet  # noqa: F401
from capsim.base.errors import CapsimError, TraceError
from capsim.cost import billed
from capsim.memory.constants import with_constants
from capsim.results import document
from capsim.scenario import file as scenario
from capsim.scenario import prices as pricing
from capsim.scenario import providers
from capsim.scenario.scenario import Scenario
from capsim.scenario.server import PoolSpec
from capsim.study import slo
from capsim.study.sweeps.journal import NAME, Journal
from capsim.study.sweeps.point import changed, split
from capsim.study.sweeps.run import design_of
from capsim.telemetry.inspect import effective, read
from capsim.telemetry.inspect.pool import pool_of
from capsim.telemetry.inspect.report import inspection, screen
from capsim.telemetry.inspect.url import address_of as database_address_of
from capsim.telemetry.inspect.written import written
from capsim.telemetry.measure import gclog
from capsim.telemetry.record import ask
from capsim.validation import oracle, series
from capsim.validation.reference import http
from capsim.validation.reference.settings import Settings
from capsim.validation.reference.url import read_database_url
from capsim.workload import companion, instants, patterns, read_requests, read_trace
from capsim.workload.paths import path_of
from capsim.workload.recordings import load, read_recording
from capsim.workload.recordings.address import address_of
from capsim.workload.recordings.metrics_response import NotMetrics, read_answer
from capsim.workload.recordings.write import table_of
from capsim.workload.request_map import RequestMap, proposed

ROOT = Path(__file__).parents[1]
CORPUS = Path(__file__).parent / "corpus"
BETWEEN = b"\n%%%\n"  # between the two files of one input
ON = dt.date(2026, 2, 3)


@dataclass(frozen=True)
class Parser:
    """A door: how bytes go through it, and for tables an example whose values can be exchanged."""

    read: Callable[[bytes], object]
    example: Callable[[], Mapping[str, Any]] | None = None
    encode: Callable[[Any], bytes] = lambda data: json.dumps(data).encode()


def check(name: str, data: bytes) -> str:
    """Let bytes through a door; the first line of the refusal, or nothing where they were taken.

    Raises
    ------
    Exception
        Whatever is neither a result nor a clear refusal.
    """
    try:
        PARSERS[name].read(data)
    except CapsimError as refusal:
        for problem in refusal.problems:
            assert problem.strip(), "a refusal says what is wrong"
            problem.encode()  # can be printed
            # What a file holds is quoted in part only.
            assert len(problem) < 5_000, f"a problem of {len(problem)} characters"
        return refusal.problems[0]
    return ""


def _in_files(**names: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Bytes written to one file, or to several that BETWEEN keeps apart; the last function gets its path."""

    def through(data: bytes) -> object:
        with tempfile.TemporaryDirectory(prefix="capsim-fuzz-") as folder:
            parts = data.split(BETWEEN, len(names) - 1)
            parts += [b""] * (len(names) - len(parts))
            for (name, step), part in zip(names.items(), parts, strict=True):
                path = Path(folder) / name
                path.write_bytes(part)
                found = step(path)
            return found

    return through


_LOGS = {None, "access-log", "events", "jsonl", "json-array", "w3c", *(line.name for line in patterns.LINES)}


def _trace(format: str | None = None, **how: str) -> Callable[[bytes], object]:
    def read(path: Path) -> object:
        if format in _LOGS:
            with suppress(TraceError):  # many a load says nothing of its requests
                read_requests(path, format, **how)
        return repr(read_trace(path, format, **how))

    return _in_files(load=read)


def _exported(data: bytes) -> object:
    """A file of one of the text exports; its first line names which, and nothing lets the reader find out."""
    name, _, content = data.partition(b"\n")
    return _trace(name.decode("ascii", "replace").strip() or None)(content)


def _recorded(name: str) -> Callable[[bytes], object]:
    """A recording, its table, its rates and its load."""

    def through(path: Path) -> object:
        found = read_recording(path)
        return table_of(found), load.rates(found), repr(load.load_trace(found))

    return _in_files(**{name: through})


def _answered(data: bytes) -> object:
    try:
        return read_answer(data, "MiB" if len(data) % 2 else None, 1_770_000_000.0)
    except NotMetrics as what:
        raise CapsimError(str(what)) from None


def _asked(text: str) -> object:
    """An address on the command line, and as a place to which a server redirects."""
    with suppress(ask.Unanswered):
        ask._moved(address_of("https://user:word@server.example/api/metrics"), text)
    found = address_of(text)
    assert found.shown.isascii() and (not found.headers or "@" not in found.shown.split("/")[2])
    return found


def _priced(path: Path) -> object:
    table = pricing.read_prices(path)
    prices, plan = pricing.prices_on(ON, table), pricing.plan_on("hobby", ON, table)
    return plan.rule, prices.unit_price("memory"), pricing.readings("hobby", ON, table)


def _inspected(name: str, beside: Mapping[str, str] | None = None) -> Callable[[bytes], object]:
    """A configuration, its effect, its findings, on the screen, as JSON and as a scenario."""

    def through(path: Path) -> object:
        for other, text in (beside or {}).items():
            path.with_name(other).write_text(text)
        found = effective(read([str(path.with_name(name)) for name in (path.name, *(beside or ()))]), ON)
        document = inspection(found)
        document.model_dump_json().encode()
        screen(document).encode()
        made, text = written(found, ON, "hobby", "fuzzed")
        assert scenario.loads(text) == made
        return text.encode()

    return _in_files(**{name: through})


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "replace"))


def _started(command: str) -> object:
    """A start command as railway.json carries it."""
    return _inspected("railway.json", {"package.json": '{"scripts": {"start": "node a.js", "a": "npm run a"}}'})(
        json.dumps({"deploy": {"startCommand": command}}).encode()
    )


def _addressed(url: str) -> object:
    found = effective(read(["postgres://" + url]), ON)
    address = database_address_of(url)
    return pool_of({"postgres": "3"}, address, "x"), found.settings(), inspection(found)


def _mapped(text: str) -> object:
    """A path of a log, and as a key of the map; what is told of it is a pattern that stays, and that the map fits."""
    path = path_of(text)
    assert path_of(path) == path and path.isascii() and path.isprintable()
    assert proposed("GET", path).why and proposed("POST", path).why
    if path.startswith("/"):
        assert RequestMap({f"GET {path}": "read"}).kind("GET", path) is not None
    load = {"trace": "game-day", "requests": {text: "event"}}
    table = {"name": "x", "workload": load, "billing": {"from": "2026-02-03"}}
    return RequestMap(scenario.validated(Scenario, table, "x").workload.requests or {}).kind("POST", path)


def _scenario(text: str) -> object:
    found = scenario.loads(text)
    scenario.warnings(found)
    return scenario.loads(scenario.dumps(found)) == found or found


def _swept(text: str) -> object:
    """Lines as after --vary, --range, --design and --until."""
    vary, spans, design, until = [*text.split("\n", 3), "", "", "", ""][:4]
    values = sweep_command._pairs("--vary", tuple(part for part in vary.split(" ") if part))
    ranges = sweep_command._pairs("--range", tuple(part for part in spans.split(" ") if part))
    sweep_command._target(until or None)
    made = design_of(
        design if len(design) < 8 else "grid",  # longer ones are only large
        {key: [sweep_command._value(key, one) for one in given.split(",")] for key, given in values},
        None,
        {key: sweep_command._range(key, given) for key, given in ranges},
        0,
    )
    knobs, constants = split(dict(zip(made.keys, made.point(made.size - 1), strict=True)))
    return with_constants(changed(scenario.load("after"), knobs), constants)


def _posted(data: bytes) -> object:
    """A body sent to each route that takes one; whatever comes, the answer is below 500 and the process lives."""
    ends = SimpleNamespace(changed=1)

    async def call(statement: object) -> object:
        return ends

    async def body() -> bytes:
        return data

    service: Any = SimpleNamespace(
        requested=lambda what: None,
        ingestion=SimpleNamespace(offer=lambda stream, row: "stored"),
        pool=SimpleNamespace(call=call),
        log=SimpleNamespace(error=lambda line: None),
    )
    routes, answer = http._Routes(service, Settings(body_timeout_s=5.0)), http._answers(service)
    for route in (routes.event, routes.events, routes.revenue, routes.heartbeat, routes.start_session):
        request: Any = SimpleNamespace(read=body, method="POST", headers={}, rel_url=SimpleNamespace(raw_path="/"))
        told = asyncio.run(answer(request, route))
        assert told.status < 500, told.text
    return None


def _journal(data: bytes) -> object:
    with tempfile.TemporaryDirectory(prefix="capsim-fuzz-") as folder:
        (Path(folder) / NAME).write_bytes(data)
        with Journal(Path(folder), "d" * 64, resume=True) as journal:
            return journal.rows


def _collections(text: str) -> object:
    return gclog.allocation(gclog.events(text.split("\n")), 0.0, 1e9, 1)


def _time(text: str) -> object:
    first, _, second = text.partition("\n")
    for one in (first, second):
        with suppress(CapsimError):
            instants.instant_us(one, 0)
    return instants.zone_of(first), instants.duration_us(second)


def _json(path: str) -> Callable[[], Any]:
    return lambda: json.loads((ROOT / path).read_text())


def _toml(path: str) -> Callable[[], Any]:
    return lambda: tomlkit.parse((ROOT / path).read_text()).unwrap()


def _as_toml(data: Any) -> bytes:
    return tomlkit.dumps(_without_nothing(data)).encode()


def _without_nothing(data: Any) -> Any:
    """TOML has no null."""
    if isinstance(data, dict):
        return {str(k): _without_nothing(v) for k, v in data.items() if v is not None}
    if isinstance(data, list | tuple):
        return [_without_nothing(v) for v in data if v is not None]
    return data


def _railway() -> Any:
    return {
        "build": {"builder": "RAILPACK"},
        "deploy": {
            "startCommand": "npx prisma migrate deploy && npm start",
            "healthcheckPath": "/health",
            "restartPolicyType": "ON_FAILURE",
            "restartPolicyMaxRetries": 10,
            "numReplicas": 2,
            "drainingSeconds": 5,
            "overlapSeconds": 5,
            "limitOverride": {"containers": {"cpu": 2, "memoryBytes": 1_000_000_000}},
            "multiRegionConfig": {"europe-west4": {"numReplicas": 2}},
        },
        "environments": {"production": {"deploy": {"numReplicas": 1}}},
    }


def _event() -> Any:
    return {
        "gameId": "g",
        "userId": "u",
        "sessionId": "s",
        "eventName": "e",
        "properties": {"a": [1]},
        "timestamp": 1,
        "amount": 0.5,
        "currency": "USD",
        "events": [{"gameId": "g", "userId": "u", "eventName": "e"}],
    }


def _metrics() -> Any:
    writer = {"bufferSize": 3, "totalFlushed": 100, "totalFailed": 0, "totalDropped": 0}
    return {
        "memory": {"rss": "256MB", "heapTotal": "64MB", "heapUsed": 5_000_000, "external": "2MB"},
        "uptime": "1 day 45 minutes",
        "dbConnections": [{"count": "8"}],
        "batchWriters": {"events": writer, "revenue": writer, "heartbeats": writer},
        "timestamp": "2026-02-03T10:00:00.000Z",
    }


def _exports(name: str) -> Parser:
    """A monitoring's JSON document, read as what it is called."""
    file = "prometheus-counter" if name == "prometheus" else name
    return Parser(_trace(name), _json(f"tests/data/exports/{file}.json"))


_COMPANION = "tests/data/memory_runs/own.run.toml"
_EXPORTS = [f"tests/data/billed/{name}.json" for name in ("metrics", "usage-cli", "usage-graphql", "usage-projects")]

PARSERS: dict[str, Parser] = {
    "trace": Parser(_trace()),
    "trace-access-log": Parser(_trace("access-log")),
    "trace-counts": Parser(_trace("counts")),
    "trace-events": Parser(_trace("events")),
    "trace-jsonl": Parser(_trace("jsonl")),
    "trace-parquet": Parser(_trace("parquet")),
    "trace-zstd": Parser(_trace()),
    "trace-export": Parser(_exported),
    "trace-array": Parser(_trace("json-array"), _json("tests/data/exports/array.json")),
    "trace-artillery": _exports("artillery"),
    "trace-rates": Parser(_trace(zone="Europe/Rome", dates="dmy", as_="rate")),
    "trace-har": _exports("har"),
    "trace-otlp": _exports("otlp"),
    "trace-prometheus": _exports("prometheus"),
    "trace-cloudwatch": _exports("cloudwatch"),
    "recording": Parser(_recorded("r.jsonl")),
    "recording-csv": Parser(_recorded("r.csv")),
    "metrics-answer": Parser(_answered, _metrics),
    "record-url": Parser(_text(_asked)),
    "prices": Parser(_in_files(prices=_priced), _toml("data/prices/railway.toml"), _as_toml),
    "providers": Parser(_in_files(sizes=providers.read_sizes), _toml("data/prices/providers.toml"), _as_toml),
    "time": Parser(_text(_time)),
    "scenario": Parser(_text(_scenario), _toml("data/scenarios/recommended.toml"), _as_toml),
    "slo": Parser(_in_files(slo=lambda path: slo.read(str(path))), _toml("data/slo/seed.toml"), _as_toml),
    "env": Parser(_inspected(".env")),
    "database-url": Parser(_text(_addressed)),
    "railway-json": Parser(_inspected("railway.json"), _railway),
    "railway-toml": Parser(_inspected("railway.toml"), _railway, _as_toml),
    "railway-ts": Parser(_inspected("railway.ts")),
    "package-json": Parser(
        _inspected("package.json"), lambda: {"name": "x", "scripts": {"prestart": "a", "start": "node dist/index.js"}}
    ),
    "dockerfile": Parser(_inspected("Dockerfile")),
    "request-path": Parser(_text(_mapped)),
    "start-command": Parser(_text(_started)),
    "procfile": Parser(_inspected("Procfile")),
    "railpack-json": Parser(_inspected("railpack.json"), lambda: {"deploy": {"startCommand": "node a.js"}}),
    "nixpacks-toml": Parser(_inspected("nixpacks.toml"), lambda: {"start": {"cmd": "node a.js"}}, _as_toml),
    "billed": Parser(
        _in_files(export=lambda path: (billed.is_export(f"{path}"), billed.read_billed(str(path)))),
        lambda: {"any": [_json(path)() for path in _EXPORTS]},
    ),
    "series": Parser(
        _in_files(
            **{
                "series.run.toml": lambda path: path,
                "series.csv": lambda path: [repr(one) for one in series.read_series(path)[0]],
            }
        )
    ),
    "companion": Parser(
        _in_files(**{"x.run.toml": lambda path: companion.dumps(companion.read_companion(path.with_name("x.csv")))}),
        _toml(_COMPANION),
        _as_toml,
    ),
    "design": Parser(_text(_swept)),
    "journal": Parser(_journal),
    "saved-result": Parser(_in_files(saved=document.load_document)),
    "oracle-cases": Parser(_in_files(cases=oracle.read_cases)),
    "reference-url": Parser(_text(lambda text: read_database_url(text, PoolSpec()))),
    "gc-log": Parser(_text(_collections)),
    "http-body": Parser(_posted, _event),
}
