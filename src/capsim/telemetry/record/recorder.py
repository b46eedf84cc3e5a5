"""The recorder: asks at a steady cadence for minutes or weeks, and writes down what came or why nothing did."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from capsim.base.errors import CapsimError
from capsim.telemetry.record.ask import Unanswered, ask
from capsim.workload.recordings.address import Address
from capsim.workload.recordings.journal import Journal
from capsim.workload.recordings.metrics_response import Answer, NotMetrics, UnitUnknown, read_answer

LONGEST_WAIT_S = 10.0
SHARE_OF_STEP = 0.8  # of the cadence, after which an answer counts as missed
CLOCK_STEP_S = 1.0  # a wall clock that moves by more against the steady one was set


@dataclass(frozen=True, kw_only=True)
class RecordSettings:
    """What to record.

    Parameters
    ----------
    address : Address
        Of the metrics.
    health : Address, optional
        Asked beside it; only whether it answers 200 is kept.
    every_s : float
        Cadence [s].
    for_s : float, optional
        How long; for ever by default [s].
    unit : str, optional
        Of sizes that are numbers without one; see `capsim.workload.recordings.metrics_response.UNITS`.
    rotate_bytes : int
        See `capsim.workload.recordings.journal.Journal`.
    """

    address: Address
    health: Address | None = None
    every_s: float = 5.0
    for_s: float | None = None
    unit: str | None = None
    rotate_bytes: int = 32 << 20


@dataclass
class Tally:
    """What was recorded so far."""

    samples: int = 0
    missed: int = 0
    why: str = ""
    unread: tuple[str, ...] = ()  # names in the last answer that were not taken
    totals: bool = True  # whether the last answer had totals of writers


def record(settings: RecordSettings, out: Path, progress: Callable[[Tally], None] = lambda tally: None) -> Tally:
    """Record into a file until the time is over or Ctrl-C.

    Parameters
    ----------
    settings : RecordSettings
    out : Path
        Ends in .jsonl. An earlier recording of the same server is continued.
    progress : callable
        Told the tally after each request.

    Returns
    -------
    Tally

    Raises
    ------
    CapsimError
        If the first answer of a new recording is no metrics or does not come, or the file cannot be written. Later
        failures of the server are written down as missed, and recording goes on.
    """
    within_s = min(SHARE_OF_STEP * settings.every_s, LONGEST_WAIT_S)
    if not out.exists():
        _try(settings, max(within_s, 2.0))
    begun = time.monotonic()
    wall = time.time()
    journal = Journal(
        out,
        {
            "source": settings.address.shown,
            "every_s": settings.every_s,
            "at": _iso(wall),
            "recorder": f"capsim {version('capsim')}",
        },
        settings.rotate_bytes,
    )
    tally = Tally()
    try:
        _loop(settings, journal, tally, progress, begun=begun, wall=wall, within_s=within_s)
    finally:
        journal.close()
    return tally


def _try(settings: RecordSettings, within_s: float) -> None:
    """A wrong address is found now, and not in a week."""
    address = settings.address
    try:
        read_answer(ask(address, within_s), settings.unit)
    except Unanswered as why:
        if str(why) in ("HTTP 401", "HTTP 403"):
            raise CapsimError(
                f"{address.shown}: {why}; put user and password before the host, or the token into the query"
            ) from None
        raise CapsimError(f"{address.shown}: {why}; check the address and that the server runs") from None
    except UnitUnknown as what:
        raise CapsimError(f"{address.shown}: {what}; say what it is: --unit MiB (or bytes, KiB, kB, MB, GiB)") from None
    except NotMetrics as what:
        raise CapsimError(
            f"{address.shown}: answers {what}, which is not metrics; give the address of /api/metrics"
        ) from None


def _loop(
    settings: RecordSettings,
    journal: Journal,
    tally: Tally,
    progress: Callable[[Tally], None],
    *,
    begun: float,
    wall: float,
    within_s: float,
) -> None:
    every = settings.every_s
    until = float("inf") if settings.for_s is None else settings.for_s - 1e-9
    tick = 0
    ahead = 0.0  # of the wall clock, since the session began
    while tick * every < until:
        time.sleep(max(0.0, begun + tick * every - time.monotonic()))
        asked = time.monotonic()
        line = _sample(settings, within_s)
        now = time.monotonic()
        # The clock of the wall can be set; the steady one cannot, and is what the samples are placed by.
        line |= {"at": _iso(time.time() - (now - asked) / 2), "t_s": round((asked + now) / 2 - begun, 4)}
        shift = time.time() - now - (wall - begun) - ahead
        if abs(shift) > CLOCK_STEP_S:
            ahead += shift
            journal.append({"kind": "clock", "at": _iso(time.time()), "shift_s": round(shift, 3)})
        _count(line, tally)
        journal.append(line)
        late = int((now - begun) / every) - tick  # instants that passed while the answer was waited for
        late = min(late, max(0, int(until / every) - tick)) if settings.for_s is not None else late
        if late > 0:
            why = {"kind": "missed", "at": _iso(time.time()), "t_s": round(now - begun, 4), "count": late}
            journal.append(why | {"why": "still waiting for the answer before, or the recorder stood still"})
            tally.missed += late
        progress(tally)
        tick += 1 + max(late, 0)


def _count(line: dict[str, Any], tally: Tally) -> None:
    if line["kind"] == "sample":
        tally.samples += 1
        tally.why = ""
        tally.unread = tuple(line.get("unread", ()))
        tally.totals = any(name.endswith("_flushed") for name in line)
    else:
        tally.missed += 1
        tally.why = line["why"]


def _sample(settings: RecordSettings, within_s: float) -> dict[str, Any]:
    asked = time.monotonic()
    try:
        answer = read_answer(ask(settings.address, within_s), settings.unit, time.time())
    except Unanswered as why:
        line: dict[str, Any] = {"kind": "missed", "count": 1, "why": str(why)}
    except UnitUnknown as what:
        line = {"kind": "missed", "count": 1, "why": str(what)}
    except NotMetrics as what:
        line = {"kind": "missed", "count": 1, "why": f"{what} in place of metrics"}
    else:
        line = line_of(answer) | {"took_ms": round(1e3 * (time.monotonic() - asked), 2)}
    if settings.health is not None:
        try:
            ask(settings.health, max(within_s - (time.monotonic() - asked), 0.1))
            line["health"] = "ok"
        except Unanswered as why:
            line["health"] = str(why)
    return line


def line_of(answer: Answer) -> dict[str, Any]:
    """A sample as the journal keeps it."""
    line: dict[str, Any] = {"kind": "sample"}
    line |= {name: int(value) if value % 1 == 0 else round(value, 4) for name, value in answer.values.items()}
    if answer.server_at_us is not None:
        line["server_at"] = _iso(answer.server_at_us / 1e6)
    if answer.unread:
        line["unread"] = list(answer.unread)
    return line


def _iso(epoch_s: float) -> str:
    return dt.datetime.fromtimestamp(epoch_s, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
