"""Odd values in the place of others, and pieces that are repeated: what some library chokes on.

Bytes that a fuzzer mutates seldom become a number of 400 digits or the 30th of February; these do at once. Nor does it
make inputs so long that a reader whose time grows with their square is seen to hang.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

NUMBERS = [
    b"NaN", b"Infinity", b"-Infinity", b"nan", b"inf", b"1e400", b"-1e400", b"1e308", b"9" * 25, b"-" + b"9" * 25,
    b"9" * 400, b"9" * 4_400, b"-1", b"0", b"-0.0", b"1e-400", b"9223372036854775807", b"9223372036854775808",
    b"4294967296", b"1e18", b"253402300800", b"0x10", b"1_000", b"\xd9\xa1", b"", b"null", b"true", b"[]", b"{}",
    b'""', b"1.5", b"00", b"1e5",
]  # fmt: skip
TEXTS = [
    b"", b"\0", b"9999-99-99T99:99:99Z", b"2026-02-30T00:00:00Z", b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59Z",
    b"x" * 20_000, b"\xff\xfe", b"\xf0\x9f\x98\x80", b"NaN", b"-1", b"a\nb", b"..", b"/", b"\\", b"%00", b"{}",
    b"9" * 4_400,
]  # fmt: skip
DAYS = [b"2026-02-30", b"0000-00-00", b"9999-99-99"]
PIECES = [
    b'.a', b'[', b'{', b'{"a":', b'a=', b'"', b"'", b'\\', b'#', b'$', b'${', b'${a', b'$(', b'(', b')', b',', b';',
    b'\n', b' ', b'\t', b'a', b'0', b'-', b':', b'/', b'%', b'@', b'=', b'&', b'&a=b', b'|', b'<', b'>', b'a b ',
    b'\r', b'\r\n', b'\xc3\xa9', b'a\n', b'a=1\n', b'a,', b'",', b'\\\n', b'[]', b'"a",', b'{},', b'-a ', b'--a=b ',
    b'a:b@', b'1,', b'*', b'`', b'a=$a\n', b'# a\n', b'0:', b'..', b'a/', b'%25', b'\x00', b'<!--', b'/*', b'*/',
    b'//', b'a(', b'=>', b'a?', b'1d ',
]  # fmt: skip
REPEATED_BYTES = 200_000  # what takes a millisecond for a thousand takes 40 s for these if it grows with the square
KINDS = [
    (re.compile(rb"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"), NUMBERS),
    (re.compile(rb'(?<=")[^"\n]*(?=")'), TEXTS),
    (re.compile(rb"\d{4}-\d\d-\d\d"), DAYS),
]


def exchanged(data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Inputs with one value exchanged: ``count`` of them by chance, or all there are."""
    places = [(found.span(), values) for pattern, values in KINDS for found in pattern.finditer(data)]
    every = [(begin, end, value) for (begin, end), values in places for value in values]
    for begin, end, value in random.Random(seed).sample(every, min(count, len(every))):
        yield data[:begin] + value + data[end:]


def repeated(data: bytes, count: int) -> Iterator[bytes]:
    """Inputs with a piece put in at some place, as often as `REPEATED_BYTES` hold: ``count`` of them by chance."""
    rng = random.Random(data)  # other pieces in each input: one seed for all would try the same few everywhere
    for piece in rng.choices(PIECES, k=count):
        place = rng.randrange(len(data) + 1)
        yield data[:place] + piece * (REPEATED_BYTES // len(piece)) + data[place:]
