"""Outputs are written whole or not at all.

A file is made beside its final place and renamed; a folder of files is made in a hidden neighbour and moved
in when all of it exists. An interrupted or failed command leaves what was there before.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from capsim.errors import CapsimError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STAGING = ".capsim-"  # how the name of a folder begins in which files are made
SUMS = "SHA256SUMS"  # names every file of an output folder; `sha256sum -c` checks it


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file in one step: readers see the old content or all of the new.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(Path(folder) / "a.txt", "whole")
    ...     (Path(folder) / "a.txt").read_text()
    'whole'
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step: readers see the old content or all of the new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # what was asked for; the temporary name says nothing to its reader
        raise


@contextmanager
def folder(out: Path) -> Iterator[Path]:
    """Lend an empty folder to fill; when the block ends well, its files replace those of an earlier run.

    Opened before the work starts, it refuses an unusable place before any time is spent.

    Parameters
    ----------
    out : Path
        Where the files shall be. It may be absent, empty, or written by capsim before (it then has a list
        of its files); files in it that are not on that list are left alone.

    Yields
    ------
    Path
        A temporary folder on the same file system.

    Raises
    ------
    CapsimError
        If ``out`` is a file, or a folder with content that capsim did not write.
    """
    place = out
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise CapsimError(f"{place}: is a file, but the output goes into a folder; choose another --out")
    if out.exists() and any(out.iterdir()) and not (out / SUMS).is_file():
        raise CapsimError(f"{out}: holds files that capsim did not write; empty it or choose another --out")
    try:
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=place))
    except OSError as error:
        raise CapsimError(f"{out}: cannot be written ({error.strerror}); choose another --out") from error
    try:
        yield staging
        _publish(staging, out)
    except OSError as error:
        # A full disk names no file, or one in the temporary folder; the reader knows only the place asked for.
        if error.errno in _FULL or str(error.filename).startswith(str(staging)):
            raise CapsimError(
                f"{out}: cannot be written ({error.strerror}); free some space or choose another --out"
            ) from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _publish(staging: Path, out: Path) -> None:
    names = sorted(p.relative_to(staging).as_posix() for p in staging.rglob("*") if p.is_file())
    sums = [f"{hashlib.sha256((staging / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (staging / SUMS).write_text("".join(sums), encoding="utf-8")
    earlier = _listed(out / SUMS)
    for name in [*names, SUMS]:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(out / name)
    for name in earlier - set(names):
        (out / name).unlink(missing_ok=True)


def _listed(sums: Path) -> set[str]:
    """The files that an earlier run wrote; names that point out of the folder are not believed."""
    if not sums.is_file():
        return set()
    names = {line.split("  ", 1)[-1] for line in sums.read_text(encoding="utf-8").splitlines()}
    return {n for n in names if n and not Path(n).is_absolute() and ".." not in Path(n).parts}
