"""One measurement: start the server, load it, sample it, stop it; whatever happens, nothing is left running."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from capsim.base.errors import CapsimError
from capsim.telemetry.measure.gclog import FLAGS, Allocation, allocation, events
from capsim.telemetry.measure.group import Group, group
from capsim.telemetry.measure.node import Node

PROGRAMS = Path(__file__).parent / "node"
RECORD_BYTES = {"event": 1545, "revenue": 423, "heartbeat": 168}  # of JSON
SETTLE_S = 2.0  # idle before the load, so that the start is seen apart
TAIL_S = 3.0  # idle after it
PATIENCE_S = 60.0  # beyond the load: for a large live set, and for a process that hangs at its cap
ABORT_S = 30.0  # from the last sample to the end of a process that aborts
SILENCE_S = 20.0  # without a sample after the load has begun: the process hangs


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """What to measure.

    Parameters
    ----------
    rate_hz, seconds : float
        Open-loop load.
    heap_cap_mib, semi_space_mib : int, optional
        ``--max-old-space-size`` and ``--max-semi-space-size``; None leaves them to Node.
    live_mib : float
        Records kept from the start to the end [MiB].
    stalls : tuple of (float, float)
        From [s after the start of the load] and length [s]: a flush that begins then takes that length.
    memory_limit_mib : float, optional
        Limit of the memory cgroup.
    rules : {"kit", "seed", "fixed"}
        Of the batch writers.
    buffer_cap_rows : int, optional
        Largest buffer of a writer.
    flush_ms, sample_ms : float
        How long the pretended database takes; time between samples.
    """

    rate_hz: float
    seconds: float = 60.0
    heap_cap_mib: int | None = None
    semi_space_mib: int | None = None
    live_mib: float = 0.0
    stalls: tuple[tuple[float, float], ...] = ()
    memory_limit_mib: float | None = None
    rules: str = "kit"
    buffer_cap_rows: int | None = None
    flush_ms: float = 20.0
    sample_ms: float = 500.0


@dataclass
class NodeRecording:
    """What was seen."""

    node: Node
    flags: tuple[str, ...]
    hello: dict[str, Any]
    row_bytes: dict[str, float]
    limited: bool
    notes: list[str]
    rows: list[dict[str, float]] = field(default_factory=list)
    loaded_s: float | None = None  # start of the load on the time axis
    ended: str = "stopped"
    load: dict[str, Any] = field(default_factory=dict)
    allocation: Allocation | None = None
    interrupted: bool = False


def measure(
    settings: MeasureSettings, node: Node, progress: Callable[[float], None] = lambda share: None
) -> NodeRecording:
    """Run one server under one load.

    Parameters
    ----------
    settings : MeasureSettings
    node : Node
        From `capsim.telemetry.measure.node.find_node`.
    progress : callable
        Told the share of the time that has passed.

    Returns
    -------
    NodeRecording
        Also after Ctrl-C, with what there is until then. Takes ``seconds`` and a few more, at most ``seconds``
        and two minutes; every process that it starts has ended when it returns.

    Raises
    ------
    CapsimError
        If the server does not start.
    """
    row_bytes = _weigh(node)
    with ExitStack() as stack:
        # A group without a limit still tells what would be billed.
        made, reason = stack.enter_context(group(settings.memory_limit_mib))
        notes = [f"{reason}; memory is sampled per process only, without a limit"] if reason else []
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="capsim-measure-")))
        recording = NodeRecording(node, _flags(settings), {}, row_bytes, made is not None, notes)
        server, pipe = stack.enter_context(_server(settings, recording, made, folder))
        own_end = _watch(recording, settings, server, pipe, made, progress, stack)
        _tell_end(recording, server.returncode if own_end else 0, folder)
    return recording


def _flags(settings: MeasureSettings) -> tuple[str, ...]:
    flags = []
    if settings.heap_cap_mib is not None:
        flags.append(f"--max-old-space-size={settings.heap_cap_mib}")
    if settings.semi_space_mib is not None:
        flags.append(f"--max-semi-space-size={settings.semi_space_mib}")
    return tuple(flags)


def _weigh(node: Node) -> dict[str, float]:
    """Bytes of heap of a kept record, in a process of its own so that it leaves no garbage behind."""
    reading, writing = os.pipe()
    given = json.dumps({"weigh": True, "fd": writing, "record_bytes": RECORD_BYTES})
    try:
        with os.fdopen(reading) as lines:
            command = [node.path, str(PROGRAMS / "server.cjs"), given]
            done = subprocess.run(command, pass_fds=(writing,), capture_output=True, text=True, timeout=60)
            os.close(writing)
            said = lines.readline()
    except subprocess.TimeoutExpired:
        raise CapsimError(f"{node.path}: did not weigh its records within 60 s; try a less busy moment") from None
    if not said:
        raise CapsimError(f"{node.path} (Node {node.version}): {_last_line(done.stderr)}; use Node 20 or later")
    weights: dict[str, float] = json.loads(said)["row_bytes"]
    return weights


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if "Error" in line]
    return lines[0] if lines else "ended without a word"


@contextmanager
def _server(
    settings: MeasureSettings, recording: NodeRecording, made: Group | None, folder: Path
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    reading, writing = os.pipe()
    given = {
        "fd": writing,
        "record_bytes": RECORD_BYTES,
        "live_mib": settings.live_mib,
        "event_row_bytes": recording.row_bytes["event"],
        "writer": {"rules": settings.rules, "batch": 100, "delay_ms": 5000, "cap": settings.buffer_cap_rows},
        "flush_ms": settings.flush_ms,
        "stalls": [{"from_s": start, "length_s": length, "flush_s": length} for start, length in settings.stalls],
        "sample_ms": settings.sample_ms,
    }
    command = [recording.node.path, *recording.flags, *FLAGS, str(PROGRAMS / "server.cjs"), json.dumps(given)]
    if made is not None:
        command = ["/bin/sh", "-c", made.join_script() + ' && exec "$@"', "sh", *command]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        server = subprocess.Popen(command, stdout=out, stderr=err, pass_fds=(writing,))
    os.close(writing)
    try:
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            yield server, pipe
    finally:
        _stop(server)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _watch(
    recording: NodeRecording,
    settings: MeasureSettings,
    server: subprocess.Popen[bytes],
    pipe: IO[bytes],
    made: Group | None,
    progress: Callable[[float], None],
    stack: ExitStack,
) -> bool:
    """Take samples until the load and its tail are over, or the process ends; whether it ended by itself."""
    own_end = False
    began = last = time.monotonic()
    load: subprocess.Popen[bytes] | None = None
    try:
        for line in _lines(pipe):
            now = time.monotonic()
            if line is not None:
                said = json.loads(line)
                last = now
                if "port" in said:
                    recording.hello = said
                    ready = now
                else:
                    _take(recording, said, server.pid, made)
            if recording.hello and load is None and now >= ready + SETTLE_S:
                load = stack.enter_context(_load(recording, settings))
                began = now
            if load is not None:
                progress(min((now - began) / (settings.seconds + TAIL_S), 1.0))
                if now - began > settings.seconds + TAIL_S or now - last > SILENCE_S:
                    break
            elif now - began > PATIENCE_S:
                break
        else:
            with suppress(subprocess.TimeoutExpired):
                server.wait(ABORT_S)
                own_end = True
    except KeyboardInterrupt:
        recording.interrupted = True
    if load is None and not (own_end or recording.interrupted):
        raise CapsimError(f"the server was not ready within {PATIENCE_S:.0f} s; give it less to keep or a larger limit")
    if time.monotonic() - last > SILENCE_S and not own_end:
        recording.notes.append(f"no sample for {SILENCE_S:.0f} s: the process hung and was stopped")
    _stop(server)
    if load is not None and not recording.interrupted:
        recording.load = _told(load)
    return own_end


def _lines(pipe: IO[bytes]) -> Iterator[bytes | None]:
    """Whole lines as they come; None a few times a second while none comes; ends when the pipe is closed."""
    held = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not selector.select(0.25):
                yield None
                continue
            part = pipe.read(65_536)
            if not part:
                return
            *whole, held = (held + part).split(b"\n")
            yield from whole


def _take(recording: NodeRecording, said: dict[str, Any], pid: int, made: Group | None) -> None:
    loaded_s = said.pop("loaded_s")
    if loaded_s is not None:
        recording.loaded_s = loaded_s
    seen = _seen_from_outside(pid)
    if not seen:
        return
    row = {**said, **seen}
    usage = made.usage_mib() if made is not None else None
    if usage is not None:
        row["usage"] = usage
    recording.rows.append(row)


def _seen_from_outside(pid: int) -> dict[str, float]:
    """Resident memory as the kernel counts it [MiB]; empty if the process has gone."""
    names = {"VmRSS": "rss", "RssAnon": "rssAnon", "RssFile": "rssFile", "VmHWM": "rssPeak"}
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    parts = (line.split() for line in lines)
    found = {names[p[0][:-1]]: int(p[1]) / 1024 for p in parts if p and p[0][:-1] in names}
    return found if len(found) == len(names) else {}


@contextmanager
def _load(recording: NodeRecording, settings: MeasureSettings) -> Iterator[subprocess.Popen[bytes]]:
    given = {
        "port": recording.hello["port"],
        "rate": settings.rate_hz,
        "seconds": settings.seconds,
        "record_bytes": RECORD_BYTES,
    }
    command = [recording.node.path, str(PROGRAMS / "load.cjs"), json.dumps(given)]
    load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield load
    finally:
        _stop(load)
        assert load.stdout is not None
        load.stdout.close()


def _told(load: subprocess.Popen[bytes]) -> dict[str, Any]:
    try:
        out, _ = load.communicate(timeout=5)
        told: dict[str, Any] = json.loads(out)
    except (subprocess.TimeoutExpired, ValueError):
        return {}
    return told


def _tell_end(recording: NodeRecording, code: int, folder: Path) -> None:
    if code == -signal.SIGKILL:
        recording.ended = "killed"
    elif code != 0 and not recording.interrupted:
        message = (folder / "err").read_text(errors="replace")
        if "heap" not in message:
            raise CapsimError(f"the measured server ended with {code}: {_last_line(message)}; report it as a bug")
        recording.ended = "abort"
    if len(recording.rows) < 2 and not recording.interrupted:
        raise CapsimError(f"the server ended ({recording.ended}) before it was loaded; give it a larger cap or limit")
    if recording.loaded_s is not None and recording.rows:
        last = recording.rows[-1]
        log = (folder / "out").read_text(errors="replace").splitlines()
        recording.allocation = allocation(events(log), recording.loaded_s, last["t_s"], int(last["reqs_or_count"]))
