"""Access logs read block by block on arrays, and their plain twin: the pattern, line by line."""

from __future__ import annotations

import gzip
import random
import sys
from array import array
from pathlib import Path

import pytest

from capsim.base.errors import TraceError
from capsim.workload import access_log, lines, read_trace
from capsim.workload.access_log import ACCESS_LINE
from capsim.workload.instants import Stamps, clf_us
from capsim.workload.lines import Broken, blocks_of, lines_of
from capsim.workload.source import Asked, Source

USUAL = '10.0.0.{} - - [{:02}/Feb/2026:{:02}:{:02}:{:02} {}] "POST /api/{} HTTP/1.1" {} {} "-" "curl/8.5.0"\n'
SPOILED = (  # text, and what takes its place
    ('"POST', '"PO\\"ST'), ("Feb", "Fob"), ("/2026", "/1066"), ("/2026", "/2300"), (":", ";"), ("] ", "]"),
    ("10.0.0.", "ünicode"), (" - -", " -"), (" - -", " - a b c"), ("- - [", "- - [[x] ["), ("HTTP/1.1\"", "HTTP/1.1"),
    ("\n", ""), ("\n", "\r\n"), ("\n", " \"\n"), ("\n", "\n\n"), ("curl", "cu[rl"), ("10.", " 10."), ("10.", "\t10."),
    ("10.", "Feb  7 10."), ("10.", "x   10."), ("10.", "b  "), (" - ", " \"u\" "), ("/Feb/", "/02/"),
    ("+0000", "-0730"), ("+0000", "+9999"), ("+0000", "0000"), ("01/", "00/"),
    ("/Feb", "1/Feb"), ('1.1" ', '1.1"'), ("/api/", "/\xa0/"), ("/api/", '/a"b/'), ("[", ""), ('"-"', ""),
)  # fmt: skip


def source(path: Path, broken: Broken) -> Source:
    return Source(path, str(path), broken, Stamps(), Asked())


def by_pattern(path: Path, broken: Broken) -> tuple[list[int], int, list[int]]:
    """Instants, lines, and numbers of lines that are cut short: the plain twin."""
    found, count, cut = array("q"), 0, []
    for number, raw in lines_of(path):
        line = raw.decode("latin-1")
        hit = ACCESS_LINE.match(line)
        if hit is None:
            if line.isspace():
                continue
            broken.add(number, line, "no access-log line")
        else:
            try:
                found.append(clf_us(hit[1], {}))
            except ValueError as error:
                broken.add(number, line, str(error))
            else:
                if hit[5].replace('\\"', "").count('"') % 2:
                    cut.append(number)
        count += 1
    return found.tolist(), count, cut


def random_log(seed: int) -> str:
    """Usual lines, and some that are spoiled in one or two ways."""
    rng, log = random.Random(seed), []
    for _ in range(rng.choice((1, 30, 300))):
        line = USUAL.format(
            rng.randrange(256), rng.choice((1, 28, 29, 30)), rng.choice((0, 23, 24)), rng.randrange(61),
            rng.choice((0, 59, 60, 61)), rng.choice(("+0000", "+0530", "-0800")), "x" * rng.randrange(40),
            rng.choice(("200", "404", "-", "99")), rng.choice((0, 12_345, "-", "x")),
        )  # fmt: skip
        if seed % 2:
            for old, new in rng.sample(SPOILED, rng.choice((0, 0, 1, 2))):
                line = line.replace(old, new, 1)
        log.append(line)
    return "".join(log)


@pytest.mark.parametrize("seed", range(60))
def test_arrays_and_the_pattern_say_the_same_of_every_line(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(random_log(seed).encode("latin-1"))
    monkeypatch.setattr(lines, "_BLOCK_BYTES", random.Random(seed).choice((7, 500, 1 << 20)))
    mine, theirs = Broken(path, 1.0), Broken(path, 1.0)
    found = access_log.read_access_log(source(path, mine), blocks_of(path))
    times, count, cut = by_pattern(path, theirs)
    assert (found.times_us.tolist(), found.lines, mine.count, mine.shown) == (times, count, theirs.count, theirs.shown)
    first = f"(first: line {cut[0]})" if cut else ""
    told = f"{len(cut)} line{'s' * (len(cut) > 1)} cut short after the status still counted {first}."
    assert found.notes == [told] * bool(cut)


def test_usual_lines_need_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.log"
    path.write_text("".join(USUAL.format(1, 3, 4, 5, second, "+0100", "x", 202, 7) for second in range(60)))
    monkeypatch.setattr(access_log, "_by_pattern", None)
    assert len(read_trace(path).times_us) == 60


def test_a_line_longer_than_a_block_is_broken_and_its_rest_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.log"
    usual = USUAL.format(1, 3, 4, 5, 6, "+0100", "x", 202, 7)
    path.write_text(usual + "y" * 5_000 + "\n" + usual)
    for module in (lines, access_log):
        monkeypatch.setattr(module, "LONGEST_LINE_BYTES", 300)
    monkeypatch.setattr(lines, "_BLOCK_BYTES", 1_000)
    blocks = list(blocks_of(path))
    assert max(len(block) for _, block in blocks) < 2_500
    broken = Broken(path, 1.0)
    found = access_log.read_access_log(source(path, broken), iter(blocks))
    assert (len(found.times_us), broken.count, found.lines) == (2, 1, 3)


def test_zstd_is_read_like_gzip(tmp_path: Path) -> None:
    zstd = pytest.importorskip("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    usual = "".join(USUAL.format(1, 3, 4, 5, second, "+0100", "x", 202, 7) for second in range(60)) * 200
    packed = {"a.log.zst": zstd.compress(usual.encode()), "b.log.gz": gzip.compress(usual.encode())}
    for name, data in packed.items():
        whole = tmp_path / name
        whole.write_bytes(data)
        assert len(read_trace(whole).times_us) == 12_000
        assert read_trace(whole).name == name[:1]
        whole.write_bytes(data[: len(data) // 2])
        with pytest.raises(TraceError, match=f"the {'zstd' if 'zst' in name else 'gzip'} ends early, after line"):
            read_trace(whole)
        whole.write_bytes(data[:20] + bytes(30) + data[50:])
        with pytest.raises(TraceError, match="is damaged after line"):
            read_trace(whole)
