"""The lines of a trace file, plain or packed, and the account of those that could not be read."""

from __future__ import annotations

import gzip
import hashlib
import ipaddress
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from capsim.base.errors import TraceError
from capsim.workload.instants import NO_TIME

LONGEST_LINE_BYTES = 1 << 20  # a longer one is broken; its rest is skipped unread
MAX_BROKEN_SHARE = 0.05
SHOWN = 3  # broken lines quoted in full view

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_OTHER_PACKING = {
    b"PK": "zip",
    b"BZ": "bzip2",
    b"\xfd7": "xz",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_PACKING = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
_MARK = b"\xef\xbb\xbf"  # some editors begin UTF-8 with it
_BLOCK_BYTES = 8 << 20
# What may name somebody: addresses (checked, so that no time is taken for one), mail, the user of an access log, fields
# called so, and what follows a question mark.
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:\.\d{1,3}){0,3}(?![\w:])")
_MAIL = re.compile(r"[\w.+%-]{1,64}@[\w.-]{1,255}")
_USER = re.compile(r"((?:^|\s)\S{1,255} )(?!-)[^\s\[]{1,255}( \[)")  # before the time of an access log
_NAMED = re.compile(
    r"""((?:user|login|mail|token|secret|passw|auth|cookie|session|client|host|fwd|ip|api_?key)[\w.-]{0,20}["']?\s?[=:]\s?)"""
    r"""(?:"[^"]{0,500}"?|'[^']{0,500}'?|[^\s,;&"']{1,500})""",
    re.IGNORECASE,
)
_QUERY = re.compile(r"\?[^\s\"']{1,2000}")


def _hidden_address(hit: re.Match[str]) -> str:
    try:
        ipaddress.ip_address(hit[0])
    except ValueError:
        return hit[0]
    return "client"


def hidden(text: str) -> str:
    """A text from a log that a message may quote: without addresses, users, queries and secrets.

    Examples
    --------
    >>> hidden('192.0.2.1 - frank [02/Mar/2026:17:30:00 +0000] "GET /a?token=x"')
    'client - user [02/Mar/2026:17:30:00 +0000] "GET /a?..."'
    """
    text = _NAMED.sub(r"\1...", _QUERY.sub("?...", text[:2_000]))
    return _USER.sub(r"\1user\2", _MAIL.sub("user", _ADDRESS.sub(_hidden_address, text)))



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
    """Number (from 1) and bytes of every line, one at a time; what packs it is known by the content, not by the name.

    Raises
    ------
    TraceError
        If a packed file ends early or is damaged, or if it is packed in a way that is not read here.
    """
    with _reading(path) as text:
        while line := text.stream.readline(LONGEST_LINE_BYTES):
            text.lines += 1
            if text.lines == 1:
                line = line.removeprefix(_MARK)
            yield text.lines, line
            while len(line) == LONGEST_LINE_BYTES and line[-1:] != b"\n":
                line = text.stream.readline(LONGEST_LINE_BYTES)


def blocks_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """The same lines, many at a time: the number of the first, and their bytes; only the last may lack its line end.

    A line too long to be one is cut, as by `lines_of`.

    Raises
    ------
    TraceError
        As `lines_of`.
    """
    with _reading(path) as text:
        first, rest, begun = 1, b"", False
        while data := text.block():
            if not begun:
                data, begun = data.removeprefix(_MARK), True
            end = data.rfind(b"\n") + 1
            if not end:  # only a broken line is that long
                rest += data[: max(LONGEST_LINE_BYTES - len(rest), 0)]
                continue
            yield first, rest + data[:end]
            first, rest = text.lines + 1, data[end:]
        if rest:
            yield first, rest


@dataclass
class _Text:
    """A file that is being read."""

    stream: BinaryIO
    lines: int = 0  # so far

    def block(self) -> bytes:
        """The next megabytes; counts the lines that end in them, also if the file then breaks off."""
        pieces, size = [], 0
        while size < _BLOCK_BYTES and (piece := self.stream.read1(_BLOCK_BYTES - size)):  # type: ignore[attr-defined]
            pieces.append(piece)
            size += len(piece)
            self.lines += piece.count(b"\n")
        return b"".join(pieces)


@contextmanager
def _reading(path: Path) -> Iterator[_Text]:
    """Open a file by what its content says, and say where it breaks off."""
    start = first_bytes(path)
    if start[:2] in _OTHER_PACKING:
        how = "iconv -f UTF-16 -t UTF-8 FILE > text" if start[:2] in _UTF_16 else "unpack it"
        raise TraceError(
            f"{path}: is {_OTHER_PACKING[start[:2]]}; give plain text in UTF-8, or gzip or zstd of it ({how})"
        )
    packing = next((name for name, magic in _PACKING.items() if start.startswith(magic)), None)
    with _opened(path, packing) as stream:
        text = _Text(stream)
        try:
            yield text
        except EOFError:
            raise TraceError(
                f"{path}: the {packing} ends early, after line {text.lines}; fetch the file again, or unpack what is "
                f"there with {'zcat' if packing == 'gzip' else 'zstdcat'}"
            ) from None
        except OSError as error:
            if isinstance(error, gzip.BadGzipFile):
                raise _damaged(path, packing, text.lines, error) from None
            raise TraceError(
                f"{path}: cannot be read after line {text.lines} ({error.strerror}); check the file"
            ) from None
        except zlib.error as error:
            raise _damaged(path, packing, text.lines, error) from None
        except Exception as error:
            if packing == "zstd" and type(error).__name__ == "ZstdError":  # its module may not be there
                raise _damaged(path, packing, text.lines, error) from None
            raise


def _damaged(path: Path, packing: str | None, lines: int, error: Exception) -> TraceError:
    return TraceError(f"{path}: the {packing} is damaged after line {lines} ({error}); fetch the file again")


def _opened(path: Path, packing: str | None) -> BinaryIO:
    if packing == "gzip":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if packing == "zstd":
        return _zstd(path)
    return path.open("rb")


def _zstd(path: Path) -> BinaryIO:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise TraceError(
            f"{path}: is zstd, and nothing here unpacks that; pip install 'capsim[traces]', or unpack it with zstd -d"
        ) from None
    return cast(BinaryIO, zstd.open(path, "rb"))


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
            excerpt = hidden(line.strip())[:80]
            said = hidden(reason)
            self.shown.append(f"line {number}: {said}" + (f": {excerpt!r}" if excerpt else ""))
        if self.count >= 1_000 and self.count > max(0.5, self._max_share) * number:
            self.refuse(number)

    def refuse(self, lines: int) -> None:
        """Raise if more than the stated share of ``lines`` is broken."""
        if self.count > self._max_share * lines:
            raise TraceError(
                f"{self._path}: {self.count} of {lines} lines cannot be read, more than {100 * self._max_share:g} %; "
                f"first {'; '.join(self.shown)}; {self._remedy}"
            )

    @property
    def _remedy(self) -> str:
        if all(NO_TIME in line for line in self.shown):
            return "write the times as 2026-03-02T18:00:00+01:00, without a zone with --zone, or as seconds since 1970"
        return "name the format, or repair the lines"

    def note(self) -> tuple[str, ...]:
        """One sentence, or none."""
        if not self.count:
            return ()
        lines = "1 line" if self.count == 1 else f"{self.count} lines"
        return (f"{lines} could not be read and went uncounted: {'; '.join(self.shown)}.",)
