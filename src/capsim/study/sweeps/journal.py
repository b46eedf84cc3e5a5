"""The runs of a sweep as they are finished: lines appended to a file, each on the disk before the next is begun.

The first line names the design by its hash; each further one is a run. A line that a kill has cut short is taken off
again, so what can be read is what was finished, and the final table is made of it in the order of the design.
"""

from __future__ import annotations

import fcntl
import json
import os
from io import BufferedRandom
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from capsim.base.errors import CapsimError, unwritten
from capsim.study.sweeps.point import Outcome, Row

NAME = "runs.jsonl"
FORMAT = 1


class Journal:
    """The finished runs of one design, in memory and, with a folder, on disk.

    Parameters
    ----------
    out : Path or None
        Folder of the sweep; made if it is absent.
    digest : str
        Hash of all that makes a run what it is.
    resume : bool
        Go on from what is there. Without it a folder that holds runs is refused, lest they be lost.

    Raises
    ------
    CapsimError
        If the folder holds another design's runs, cannot be used, or another sweep writes to it.
    """

    def __init__(self, out: Path | None, digest: str, *, resume: bool) -> None:
        self.rows: dict[tuple[int, int], Row] = {}
        self._file: BufferedRandom | None = None
        self._path = out / NAME if out else None
        if self._path is None or out is None:
            return
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "a+b", buffering=-1)  # noqa: SIM115 - closed on leaving
        except OSError as error:
            raise unwritten(out, error, "choose another --out") from error
        try:
            self._begin(out, digest, resume)
        except BaseException:
            self._file.close()
            raise

    def _begin(self, out: Path, digest: str, resume: bool) -> None:
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CapsimError(f"{out}: another sweep is writing here; wait for it, or choose another --out") from error
        self._file.seek(0)
        lines = self._file.read().split(b"\n")
        whole = lines[:-1]  # what follows the last line break was cut short by a kill
        if not whole:
            self._file.truncate(0)
            self._write({"capsim_sweep": FORMAT, "design": digest})
            return
        header = self._parsed(whole[0], 1)
        if "capsim_sweep" not in header:
            raise CapsimError(f"{self._path}:1: is no record of a sweep; choose another --out")
        if header.get("design") != digest:
            raise CapsimError(
                f"{out}: holds the runs of another design, scenario, trace, seed or version of capsim; "
                "give the same ones again, or choose another --out"
            )
        if not resume:
            raise CapsimError(
                f"{out}: holds {len(whole) - 1} finished runs of this sweep; give --resume to go on from them"
            )
        for number, line in enumerate(whole[1:], 2):
            entry = self._parsed(line, number)
            try:
                self.rows[int(entry["point"]), int(entry["replicate"])] = dict(entry["figures"])
            except (KeyError, TypeError, ValueError, OverflowError):
                raise self._broken(number) from None
        self._file.truncate(sum(len(line) + 1 for line in whole))

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            raise self._broken(number) from None
        if not isinstance(entry, dict):
            raise self._broken(number)
        return entry

    def _broken(self, number: int) -> CapsimError:
        return CapsimError(f"{self._path}:{number}: is not a finished run; delete this line, and --resume")

    def add(self, outcome: Outcome) -> None:
        """Keep a run; when this returns, a kill or a power failure no longer loses it."""
        self.rows[outcome.point, outcome.replicate] = outcome.row
        self._write({"point": outcome.point, "replicate": outcome.replicate, "figures": outcome.row})

    def _write(self, entry: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(entry, separators=(",", ":"), allow_nan=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritten(self._path, error, "make room, and --resume") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
