"""Reads a recording: the recorder's lines, a table made of them, or saved answers; checks whose samples they are."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from capsim.base.errors import CapsimError
from capsim.base.paths import data_dir
from capsim.scenario.columns import empty
from capsim.scenario.workload import STREAMS
from capsim.workload.instants import LATEST_US, Stamps, iso
from capsim.workload.lines import MAX_BROKEN_SHARE
from capsim.workload.recordings.address import HIDDEN, address_of
from capsim.workload.recordings.journal import SUFFIX, lines_of_journal, objects_of, parts_of
from capsim.workload.recordings.metrics_response import (
    COUNTERS,
    LARGEST,
    LARGEST_BYTES,
    VALUES,
    NotMetrics,
    UnitUnknown,
    read_document,
)
from capsim.workload.recordings.model import MISSED, SAMPLES, Recording
from capsim.workload.recordings.write import read_table

TOTALS = tuple(f"{stream}_{name}" for stream in STREAMS for name in COUNTERS.values())
GAP_STEPS = 1.6  # from one sample to the next, in steps of the cadence, until samples are missing between
ALTERNATING = 0.05  # of the samples: so many falls of a counter are no restarts
CLOCKS_APART_S = 2.0
UPTIME_STEP_S = 60.0  # "45 minutes" is up to a minute behind
LONGEST_EVERY_S = 366 * 86_400.0  # a cadence beyond it is a mistake, and so is one of nothing
LONGEST_S = 20 * LONGEST_EVERY_S  # from the first sample to the last
BLOCK_BYTES = 1 << 20


@dataclass
class _Found:
    """What the lines say, before it is put in order."""

    unit: str | None = None
    source: str = ""
    every_s: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    missed: list[tuple[float, int, str]] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_recording(name_or_path: str | Path) -> Path:
    """The file meant: a bundled recording by its name, otherwise a path.

    Examples
    --------
    >>> find_recording("node-200").name
    'node-200.csv'
    """
    bundled = data_dir() / "recordings" / f"{name_or_path}.csv"
    return bundled if bundled.is_file() and not Path(name_or_path).exists() else Path(name_or_path)


def read_recording(path: str | Path, unit: str | None = None) -> Recording:
    """Read a recording.

    Parameters
    ----------
    path : str or Path
        Name of a bundled recording; a file of `capsim record` (.jsonl with the parts put aside, .csv or .parquet);
        JSON lines that are answers of /api/metrics; or a folder of such answers, one a file, placed by the time
        stamps in them.
    unit : str, optional
        Of sizes in answers that are numbers without one; see `capsim.workload.recordings.metrics_response.UNITS`.

    Returns
    -------
    Recording
        Duplicates left out and samples sorted, both noted; processes told apart where a counter or the uptime falls
        back; what is missing counted.

    Raises
    ------
    CapsimError
        If there are no samples, or they are of several servers or of processes that answer in turn.
    """
    if re.match(r"[A-Za-z]{2,}:/", str(path)):
        raise CapsimError(f"{path}: is an address; record it first: capsim record URL --out FILE.jsonl")
    path = find_recording(path)
    found = _Found(unit=unit)
    digest = hashlib.sha256()
    if path.is_dir():
        _read_folder(path, found, digest)
    elif path.suffix in (".csv", ".parquet"):
        _read_table(path, found, digest)
    else:
        _read_lines(path, found, digest)
    if not found.rows:
        raise CapsimError(f"{path}: holds no sample; record some, or give another file")
    return _recording(path, found, digest.hexdigest())


def _read_lines(path: Path, found: _Found, digest: Any) -> None:
    parts = parts_of(path) if path.name.endswith(SUFFIX) else ([path] if path.is_file() else [])
    if not parts:
        raise CapsimError(f"{path}: no such recording; give a file that capsim record made, or a folder of answers")
    for part in parts:
        _hash(part, digest)
    sources: dict[str, Path] = {}
    session = -1
    broken, lines = 0, 0
    origin_us, rotated = 0, False
    stamps = Stamps()
    for part, number, line in _lines(path):
        lines += 1
        if line is None:
            broken += 1
            continue
        kind = line.get("kind", "answer")
        if "health" in line:
            found.health.append(str(line["health"]))
        place = f"{part}: line {number}"
        try:
            if kind == "session":
                every_s = float(line["every_s"])
                if not 0 < every_s <= LONGEST_EVERY_S:
                    raise ValueError(every_s)
                sources.setdefault(shown(str(line["source"])), part)
                found.every_s = every_s
                rotated = bool(line.get("rotated"))
                if not rotated or session < 0:
                    session += 1
                    origin_us = stamps(line["at"])
            elif kind == "sample":
                at_us = stamps(line["at"])
                if session < 0:  # the line that says when the session began could not be read
                    session, origin_us = 0, at_us - round(1e6 * float(line["t_s"]))
                steady_us = _instant(origin_us, line["t_s"])
                server_at_us = stamps(line["server_at"]) if "server_at" in line else None
                found.rows.append(
                    _numbers(line, found, place)
                    | {"at_us": at_us, "session": session, "steady_us": steady_us, "server_at_us": server_at_us}
                )
                unread = line.get("unread", ())
                for name in unread if isinstance(unread, list) else ():
                    _note_once(found, f"{name} was there and was not taken (first: {place}).", str(name))
            elif kind == "missed":
                found.missed.append((_instant(origin_us, line["t_s"]), _count(line["count"]), str(line["why"])))
            elif kind == "clock":
                found.notes.append(
                    f"The recorder's clock was set by {float(line['shift_s']):+.6g} s at {line['at']}; samples are "
                    "placed by its steady clock."
                )
            elif kind == "answer":
                _take_answer(line, found, place)
                session = max(session, 0)
            else:
                broken += 1
        except (KeyError, TypeError, ValueError, OverflowError):
            broken += 1
    if len(sources) > 1:
        first, second = list(sources)[:2]
        raise CapsimError(f"{path}: holds answers of {first} and of {second}; put each server into a file of its own")
    _judge(path, found, broken, lines)
    if failed := [why for why in found.health if why != "ok"]:
        found.notes.append(f"{len(failed)} of {len(found.health)} health checks failed (first: {failed[0]}).")
    found.source = next(iter(sources), "saved answers")


def _lines(path: Path) -> Iterable[tuple[Path, int, dict[str, Any] | None]]:
    if path.name.endswith(SUFFIX):
        yield from lines_of_journal(path)
        return
    for number, line in objects_of(path):
        yield path, number, line


def _hash(path: Path, digest: Any) -> None:
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise CapsimError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def shown(source: str) -> str:
    """An address as a file tells it, without what the file should not have told.

    Examples
    --------
    >>> shown("http://me:secret@host/api/metrics"), shown("saved answers")
    ('http://host/api/metrics', 'saved answers')
    """
    if "://" not in source:
        return source
    try:
        return address_of(source).shown
    except CapsimError:
        return f"{source.split('://')[0]}://{HIDDEN}"


def _instant(origin_us: int, t_s: Any) -> int:
    """Microseconds since 1970; ValueError beyond what a date can be."""
    instant = origin_us + round(1e6 * float(t_s))
    if not 0 <= instant < LATEST_US:
        raise ValueError(t_s)
    return instant


def _count(value: Any) -> int:
    count = int(value)
    if not 0 <= count <= LARGEST:
        raise ValueError(value)
    return count


def _numbers(line: Mapping[Any, Any], found: _Found, place: str) -> dict[str, float | None]:
    """The values of a line; what is no number, or cannot be one, is left out and named."""
    out: dict[str, float | None] = {}
    for name in VALUES:
        value = line.get(name)
        out[name] = None
        if value is None or value != value:  # a cell of a table that is empty
            continue
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if 0 <= number <= LARGEST:
            out[name] = number
        else:
            _note_once(found, f"{name} was there and could not be read (first: {place}).", name)
    return out


def _take_answer(data: Any, found: _Found, place: str) -> None:
    """An answer as it was saved, placed by the server's own stamp."""
    try:
        answer = read_document(data, found.unit)
    except UnitUnknown as what:
        raise CapsimError(
            f"{place}: {what}; make a table of it once: capsim record PATH --unit MiB --out FILE.csv "
            "(or bytes, KiB, kB, MB, GiB)"
        ) from None
    except NotMetrics as what:
        raise CapsimError(f"{place}: is {what}; leave it out, or give answers of /api/metrics") from None
    if answer.server_at_us is None:
        raise CapsimError(f"{place}: has no timestamp, so it cannot be placed; leave it out")
    for name in answer.unread:
        _note_once(found, f"{name} was there and was not taken (first: {place}).", name)
    at = answer.server_at_us
    found.rows.append({**answer.values, "at_us": at, "session": 0, "steady_us": at, "server_at_us": None})


def _read_folder(path: Path, found: _Found, digest: Any) -> None:
    files = sorted(path.glob("*.json"))
    if not files:
        raise CapsimError(f"{path}: holds no .json file; give a folder of saved answers")
    for file in files:
        if file.stat().st_size > LARGEST_BYTES:
            raise CapsimError(f"{file}: is larger than 1 MiB, and metrics are a kilobyte; leave it out")
        body = file.read_bytes()
        digest.update(body)
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            raise CapsimError(f"{file}: is no JSON; leave it out") from None
        _take_answer(data, found, str(file))
    found.source = "saved answers"


def _read_table(path: Path, found: _Found, digest: Any) -> None:
    table, source = read_table(path)
    found.source = shown(source)
    _hash(path, digest)
    stamps = Stamps()
    missing = [name for name in ("at", "time_s", "why") if name not in table]
    if missing:
        raise CapsimError(f"{path}: has no column {missing[0]}; give a table that capsim record wrote")
    if table["at"].dropna().empty:
        raise CapsimError(f"{path}: holds no sample; record some, or give another file")
    origin_us: int | None = None
    broken = 0
    for number, line in enumerate(table.to_dict("records"), 2):
        try:
            begun_us = origin_us
            if begun_us is None:  # all others are placed by their time_s, as the recorder's clock may have been set
                begun_us = stamps(str(line["at"])) - round(1e6 * float(line["time_s"]))
            steady = _instant(begun_us, line["time_s"])
            _instant(begun_us, 0.0)
            origin_us = begun_us
            if isinstance(line["why"], str) and line["why"]:
                found.missed.append((steady, _count(line["count"]), line["why"]))
            else:
                found.rows.append(
                    _numbers(line, found, f"{path}: line {number}")
                    | {"at_us": steady, "session": 0, "steady_us": steady, "server_at_us": None}
                )
        except (KeyError, TypeError, ValueError, OverflowError):
            broken += 1
    _judge(path, found, broken, len(table))


def _judge(path: Path, found: _Found, broken: int, lines: int) -> None:
    """Refuse a file of which too much is broken; note what little is."""
    if broken > MAX_BROKEN_SHARE * lines + 1:  # one may always be torn
        raise CapsimError(f"{path}: {broken} of {lines} lines cannot be read; is it a recording?")
    if broken:
        found.notes.append(f"{broken} line{'s' * (broken > 1)} could not be read and went uncounted.")


def _note_once(found: _Found, note: str, key: str) -> None:
    if not any(known.startswith(key + " ") for known in found.notes):
        found.notes.append(note)


def _recording(path: Path, found: _Found, digest: str) -> Recording:
    table = pd.DataFrame(found.rows)
    notes = found.notes
    if (np.diff(table["steady_us"].to_numpy()) < 0).any() and table["session"].nunique() > 1:
        _sessions_in_order(table, notes)
    back = int((np.diff(table["steady_us"].to_numpy()) < 0).sum())
    if back:
        notes.append(f"{back} sample{'s' * (back > 1)} went back in time and {'were' if back > 1 else 'was'} sorted.")
        table = table.sort_values("steady_us", kind="stable").reset_index(drop=True)
    twice = table.duplicated("steady_us")
    if twice.any():
        contradict = table[table.duplicated("steady_us", keep=False)].drop_duplicates()
        if contradict.duplicated("steady_us").any():
            at = iso(int(contradict.loc[contradict.duplicated("steady_us"), "steady_us"].iloc[0]))
            raise CapsimError(
                f"{path}: two different samples of {at}: these are of several servers; put each into a file of its own"
            )
        notes.append(f"{int(twice.sum())} duplicate samples were left out.")
        table = table[~twice].reset_index(drop=True)
    _clocks(table, notes)
    start_us = int(table["steady_us"].iloc[0])
    if (span_s := (int(table["steady_us"].iloc[-1]) - start_us) / 1e6) > LONGEST_S:
        raise CapsimError(
            f"{path}: {span_s / 86_400:,.0f} days lie between its first sample and its last; correct the wrong time"
        )
    samples = pd.DataFrame({"time_s": (table["steady_us"] - start_us) / 1e6})
    for name in VALUES:
        samples[name] = pd.to_numeric(table[name], errors="coerce").astype(np.float64) if name in table else np.nan
    samples.insert(1, "process", _processes(path, samples, notes))
    every_s = found.every_s or float(np.median(np.diff(samples["time_s"]))) if len(samples) > 1 else found.every_s
    missed = _missed(found, samples, table, start_us, every_s)
    return Recording(
        name=path.name,
        source=found.source,
        sha256=digest,
        start_us=start_us,
        every_s=every_s,
        samples=samples[[c.name for c in SAMPLES]],
        missed=missed,
        notes=tuple(dict.fromkeys(notes)),
    )


def _sessions_in_order(table: pd.DataFrame, notes: list[str]) -> None:
    """A recorder that was started again after its clock was set back goes on after what it had."""
    last_us = None
    for session, part in table.groupby("session", sort=True):
        first = int(part["steady_us"].iloc[0])
        if last_us is not None and first < last_us:
            by = last_us + 1_000_000 - first
            table.loc[table["session"] == session, "steady_us"] += by
            notes.append(
                f"The recorder was started again with a clock that is behind; what follows is placed {by / 1e6:.6g} s "
                "later."
            )
        last_us = int(table.loc[table["session"] == session, "steady_us"].max())


def _clocks(table: pd.DataFrame, notes: list[str]) -> None:
    apart_s = (pd.to_numeric(table["server_at_us"], errors="coerce") - table["steady_us"]).dropna() / 1e6
    jumps = np.abs(np.diff(apart_s)) > CLOCKS_APART_S
    if jumps.any():
        by = float(np.diff(apart_s)[jumps][0])
        notes.append(
            f"The server's clock was set {int(jumps.sum())} time{'s' * int(jumps.sum() > 1)} (first by {by:+.6g} s); "
            "samples are placed by the recorder's."
        )


def _processes(path: Path, samples: pd.DataFrame, notes: list[str]) -> np.ndarray[Any, Any]:
    """Number of the process that each sample is of."""
    falls = np.zeros(len(samples), bool)
    for name in TOTALS:
        values = samples[name].ffill()
        falls |= (values.diff() < 0).to_numpy()
    # The text rounds down, or to the nearest: a step of it back is no restart.
    uptime = samples["uptime_s"].ffill()
    whole = bool(((uptime.dropna() % UPTIME_STEP_S) == 0).all())
    falls |= (uptime.diff() < (-UPTIME_STEP_S if whole else -1.0)).to_numpy()
    count = int(falls.sum())
    if count > max(5.0, ALTERNATING * len(samples)):
        raise CapsimError(
            f"{path}: counters fall back in {count} of {len(samples)} samples: several servers (or replicas behind one "
            "address) answer in turn; record each by its own address"
        )
    if count:
        when = ", ".join(f"{t:.6g} s" for t in samples["time_s"][falls].head(3))
        notes.append(f"{count} restart{'s' * (count > 1)} of the server (a counter or its uptime fell back at {when}).")
    return np.cumsum(falls).astype(np.int64)


def _missed(found: _Found, samples: pd.DataFrame, table: pd.DataFrame, start_us: int, every_s: float) -> pd.DataFrame:
    rows = [((at - start_us) / 1e6, count, why) for at, count, why in found.missed]
    times = samples["time_s"].to_numpy()
    told = np.array(sorted(at for at, _, _ in rows))
    for i in np.flatnonzero(np.diff(times) > GAP_STEPS * every_s):
        lacking = round((times[i + 1] - times[i]) / every_s) - 1
        inside = (told > times[i]) & (told < times[i + 1]) if told.size else np.zeros(0, bool)
        lacking -= sum(count for at, count, _ in rows if times[i] < at < times[i + 1]) if inside.any() else 0
        if lacking > 0:
            rows.append((float(times[i + 1]), lacking, "nothing was recorded"))
    if not rows:
        return empty(MISSED)
    frame = pd.DataFrame(sorted(rows), columns=[c.name for c in MISSED])
    return frame.astype({c.name: c.dtype for c in MISSED if c.dtype != "str"})
