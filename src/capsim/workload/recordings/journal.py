"""The file that a recording grows in: JSON lines, each on the disk before the next is taken.

A crash, a kill or a full disk costs the line that was being written, and nothing before it. The first line of a session
says what is asked and how often; a torn last line is cut off when the file is opened again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from capsim.base.errors import CapsimError, unwritten
from capsim.workload.lines import LONGEST_LINE_BYTES

FORMAT = 1
SUFFIX = ".jsonl"
_PART = re.compile(r"\.(\d{4,})\.jsonl$")


class Journal:
    """An open recording; one process at a time.

    Parameters
    ----------
    path : Path
        Ends in .jsonl; made if absent, continued if it is a recording.
    session : mapping
        First line of what follows: ``source``, ``every_s``, ``at`` and whatever else the reader should know.
    rotate_bytes : int
        From this size on the file is put aside as ``NAME.0001.jsonl``, and a new one is begun [bytes].

    Raises
    ------
    CapsimError
        If another process records into it, or it holds something else, or answers of another server.
    """

    def __init__(self, path: Path, session: Mapping[str, Any], rotate_bytes: int) -> None:
        self.path, self._rotate_bytes = path, rotate_bytes
        self._session = {"kind": "session", "format": FORMAT, **session}
        self.continued = bool(parts_of(path))
        for part in parts_of(path):
            _check(part, path, str(session["source"]))
        self._file = self._open()
        self.append(self._session)

    def _open(self) -> IO[bytes]:
        try:
            file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise unwritten(self.path, error, "choose another --out") from None
        _lock(file, self.path)
        _cut_torn_line(file)
        return file

    def append(self, line: Mapping[str, Any]) -> None:
        """Write one line, and return when it is on the disk.

        Raises
        ------
        CapsimError
            If it cannot be written; the file then ends with the line before.
        """
        self._put(line)
        if self._file.tell() >= self._rotate_bytes:
            self._rotate()

    def _put(self, line: Mapping[str, Any]) -> None:
        file = self._file
        file.seek(0, os.SEEK_END)
        before = file.tell()
        try:
            left = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
            while left:
                left = left[os.write(file.fileno(), left) :]
            os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):  # else it is cut off when the file is opened again
                os.ftruncate(file.fileno(), before)
            remedy = "free some space and start again: what was recorded is kept"
            raise unwritten(self.path, error, remedy) from None

    def _rotate(self) -> None:
        aside = _aside(self.path, 1 + max([0, *(_number(part) for part in parts_of(self.path))]))
        self.path.rename(aside)
        self._file.close()
        self._file = self._open()
        # Each part can be read by itself; `session` says that it goes on.
        self._put({**self._session, "rotated": True})

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


def parts_of(path: Path) -> list[Path]:
    """The files of a recording in order of time: those put aside, then the one that grows.

    Examples
    --------
    >>> parts_of(Path("no such.jsonl"))
    []
    """
    stem = path.name.removesuffix(SUFFIX)
    aside = [p for p in path.parent.glob("*" + SUFFIX) if _PART.sub("", p.name) == stem and _PART.search(p.name)]
    return sorted(aside, key=_number) + ([path] if path.is_file() and path.stat().st_size else [])


def lines_of_journal(path: Path) -> Iterator[tuple[Path, int, dict[str, Any] | None]]:
    """File, number and content of every line of all parts; None for a line that is no JSON object."""
    for part in parts_of(path):
        for number, line in objects_of(part):
            yield part, number, line


def objects_of(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Number and content of every line that is not empty; None for one that is no JSON object, or longer than 1 MiB."""
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(LONGEST_LINE_BYTES):
                number += 1
                whole = len(raw) < LONGEST_LINE_BYTES or raw.endswith(b"\n")
                while not raw.endswith(b"\n") and len(raw) == LONGEST_LINE_BYTES:  # its rest is skipped
                    raw = file.readline(LONGEST_LINE_BYTES)
                if not whole or raw.strip():
                    yield number, _object(raw) if whole else None
    except OSError as error:
        raise CapsimError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def is_session(line: str) -> bool:
    """Whether a line is the first of a recording.

    Examples
    --------
    >>> is_session('{"kind": "session", "format": 1}')
    True
    """
    if '"session"' not in line:
        return False
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and data.get("kind") == "session"


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name.removesuffix(SUFFIX)}.{number:04d}{SUFFIX}")


def _number(part: Path) -> int:
    found = _PART.search(part.name)
    return int(found[1]) if found else 0


def _check(part: Path, path: Path, source: str) -> None:
    try:
        with part.open("rb") as file:
            first = file.readline(1 << 16)
        line = json.loads(first)
        kind, known = line.get("kind"), line.get("source")
    except OSError as error:
        raise CapsimError(f"{part}: cannot be read ({error.strerror}); choose another --out") from None
    except (ValueError, RecursionError, AttributeError):
        kind = None
    if kind != "session":
        raise CapsimError(f"{part}: is no recording; nothing was added to it: choose another --out")
    if known != source:
        raise CapsimError(f"{path}: holds answers of {known}; record {source} into another file")


def _cut_torn_line(file: IO[bytes]) -> None:
    size = file.seek(0, os.SEEK_END)
    start, tail = size, b""
    while start > 0 and b"\n" not in tail:
        step = min(start, 1 << 16)
        start -= step
        file.seek(start)
        tail = file.read(step) + tail
    whole = start + tail.rfind(b"\n") + 1 if b"\n" in tail else 0
    if whole < size:
        os.ftruncate(file.fileno(), whole)
    file.seek(0, os.SEEK_END)


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on this system: the user has to take care
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise CapsimError(f"{path}: another process records into it; choose another --out") from None
