"""The logger's file transports: all lines in one rotating file, errors in a second one, as in the seed."""

from __future__ import annotations

import datetime as dt
import json
import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from capsim.base.units import MIB
from capsim.scenario.parts import LoggerSpec
from capsim.validation.reference.log import Level


class _Rotating(RotatingFileHandler):
    """Keeps so many files; a line that cannot be written is lost, and nobody else suffers."""

    def doRollover(self) -> None:
        if self.backupCount:
            super().doRollover()
        elif self.stream is not None:  # one file in all: it begins anew
            self.stream.seek(0)
            self.stream.truncate()

    def handleError(self, record: logging.LogRecord) -> None:
        return


class LogFiles:
    """A sink of `capsim.validation.reference.log.Log`: JSON lines in ``combined.log`` and ``error.log``.

    Parameters
    ----------
    spec : LoggerSpec
        How many files each of the two keeps, and their size; of at least one file.
    folder : Path
        Where.
    """

    def __init__(self, spec: LoggerSpec, folder: Path) -> None:
        size_bytes = round(spec.file_mib * MIB)
        self._all, self._errors = (
            _Rotating(folder / name, maxBytes=size_bytes, backupCount=spec.files - 1, encoding="utf-8", delay=True)
            for name in ("combined.log", "error.log")
        )

    def __call__(self, level: Level, text: str) -> None:
        """Write one line."""
        at = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"level": level, "message": text, "timestamp": at})
        record = logging.LogRecord("capsim", logging.INFO, "", 0, line, None, None)
        self._all.handle(record)
        if level == "error":
            self._errors.handle(record)

    def close(self) -> None:
        """Close both files."""
        self._all.close()
        self._errors.close()
