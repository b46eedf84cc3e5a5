"""The lines of a trace file, plain or gzip, and the account of those that could not be read."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from capsim.errors import TraceError

LONGEST_LINE_BYTES = 1 << 20  # a longer one is broken; its rest is skipped unread
MAX_BROKEN_SHARE = 0.05
SHOWN = 3  # broken lines quoted in full view

_OTHER_PACKING = {
    b"PK": "zip",
    b"BZ": "bzip2",
    b"\xfd7": "xz",
    b"(\xb5": "zstd",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){3,7}(?![\w:])")


def sha256_of(path: Path) -> str:
    """Hash of the file's bytes as they are stored.

    Raises
    ------
    TraceError
        If the file cannot be opened or read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror}); check the path") from None


def first_bytes(path: Path, count: int = 8) -> bytes:
    """The first bytes of the file as stored."""
    with path.open("rb") as stream:
        return stream.read(count)


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number (from 1) and bytes of every line, one at a time; gzip is known by its content, not by its name.

    Raises
    ------
    TraceError
        If a gzip file ends early or is damaged, or if the file is packed in some other way.
    """
    start = first_bytes(path)
    if start[:2] in _OTHER_PACKING:
        raise TraceError(f"{path}: is {_OTHER_PACKING[start[:2]]}; give plain text in UTF-8, or gzip of it")
    number = 0
    try:
        with _opened(path, packed=start[:2] == b"\x1f\x8b") as stream:
            while line := stream.readline(LONGEST_LINE_BYTES):
                number += 1
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                yield number, line
                while len(line) == LONGEST_LINE_BYTES and line[-1:] != b"\n":
                    line = stream.readline(LONGEST_LINE_BYTES)
    except EOFError:
        raise TraceError(
            f"{path}: the gzip ends early, after line {number}; fetch the file again, or unpack what is there with zcat"
        ) from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise TraceError(f"{path}: the gzip is damaged after line {number} ({error}); fetch the file again") from None
    except OSError as error:
        raise TraceError(f"{path}: cannot be read after line {number} ({error.strerror}); check the file") from None


def _opened(path: Path, packed: bool) -> BinaryIO:
    return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]


class Broken:
    """Counts lines that cannot be read; keeps the first few; refuses the file when they are too many.

    Client addresses in the quoted lines are hidden: a trace keeps times only.
    """

    def __init__(self, path: Path, max_share: float) -> None:
        self._path = path
        self._max_share = max_share
        self.count = 0
        self.shown: list[str] = []

    def add(self, number: int, line: str, reason: str) -> None:
        """Note one broken line; stop early if nearly the whole file is of that kind."""
        self.count += 1
        if len(self.shown) < SHOWN:
            excerpt = _ADDRESS.sub("client", line.strip())[:80]
            said = _ADDRESS.sub("client", reason)
            self.shown.append(f"line {number}: {said}" + (f": {excerpt!r}" if excerpt else ""))
        if self.count >= 1_000 and self.count > max(0.5, self._max_share) * number:
            self.refuse(number)

    def refuse(self, lines: int) -> None:
        """Raise if more than the stated share of ``lines`` is broken."""
        if self.count > self._max_share * lines:
            raise TraceError(
                f"{self._path}: {self.count} of {lines} lines cannot be read, more than {100 * self._max_share:g} %; "
                f"first {'; '.join(self.shown)}; name the format, or repair the lines"
            )

    def note(self) -> tuple[str, ...]:
        """One sentence, or none."""
        if not self.count:
            return ()
        lines = "1 line" if self.count == 1 else f"{self.count} lines"
        return (f"{lines} could not be read and went uncounted: {'; '.join(self.shown)}.",)
