"""Outputs are written whole or not at all.

A file is made beside its final place and renamed; a folder of files is made in a hidden neighbour and moved
in when all of it exists. An interrupted or failed command leaves what was there before.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from capsim.errors import CapsimError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SHOWN = 40  # characters of a file's name in that of its temporary one, so that the longest name can be written
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
    """Write a file in one step: readers see the old content or all of the new.

    Behind a symbolic link the file that it names is written, and the link stays.

    Raises
    ------
    CapsimError
        If the path names no file, or a device, a pipe or a socket: a rename would put a file in its place (as root,
        in that of ``/dev/null``), and what is written to it in pieces is not whole.
    """
    asked = path
    path = _named(path)
    temporary = path.with_name(f".{path.name[:_SHOWN]}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):  # what could not be made cannot be removed; the first failure is told
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(asked)  # what was asked for; the temporary name says nothing to its reader
        raise


def _named(path: Path) -> Path:
    """The file that a path names, through its links; refused if no file can stand there."""
    if not path.name:
        raise CapsimError(f"{path}: is a folder; name a file in it")
    with suppress(FileNotFoundError):  # a new file, or a link to one
        mode = path.stat().st_mode  # a loop of links is told as such
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise CapsimError(f"{path}: is a device, a pipe or a socket, where no file can be put; choose another name")
    return Path(os.path.realpath(path)) if path.is_symlink() else path


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
        If ``out`` is a file, a link that leads to nothing, or a folder with content that capsim did not write.
    """
    place = out
    while not place.exists() and place != place.parent:
        if place.is_symlink():  # no folder can be made there when the work is done
            raise CapsimError(f"{place}: is a link that leads to nothing; remove it or choose another --out")
        place = place.parent
    if not place.is_dir():
        raise CapsimError(f"{place}: is a file, but the output goes into a folder; choose another --out")
    if out.exists() and any(not p.name.startswith(STAGING) for p in out.iterdir()) and not (out / SUMS).is_file():
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
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        earlier = _listed(out / SUMS)
        for name in [*names, SUMS]:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(out / name)
        for name in earlier - set(names):
            (out / name).unlink(missing_ok=True)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep another run out while files are moved in: of two runs into one folder, one is there afterwards, whole.

    The system drops the lock of a killed process. Where there are no such locks the files are moved without one;
    ``SHA256SUMS``, which comes last, then tells a mixture.
    """
    opened = None
    try:
        with suppress(ImportError, OSError):  # Windows has no fcntl, some network file systems no lock of a folder
            import fcntl

            opened = os.open(out, os.O_RDONLY)
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        if opened is not None:
            os.close(opened)


def _listed(sums: Path) -> set[str]:
    """The files that an earlier run wrote; names that point out of the folder are not believed."""
    if not sums.is_file():
        return set()
    names = {line.split("  ", 1)[-1] for line in sums.read_text(encoding="utf-8").splitlines()}
    return {n for n in names if n and not Path(n).is_absolute() and ".." not in Path(n).parts}
