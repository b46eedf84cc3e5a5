"""Outputs are written whole or not at all.

A file is made beside its final place and renamed; a folder of files is made in a hidden neighbour and moved
in when all of it exists. An interrupted or failed command leaves what was there before. That neighbour is locked: the
system drops the lock of a process that was killed, and the next run removes what nobody holds.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from capsim.base.errors import RAN_OUT, CapsimError, unwritten

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
        If ``out`` is a file, a link that leads to nothing, a folder with content that capsim did not write, or one
        that another run is writing to.
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
        for left in place.glob(f"{STAGING}*"):
            _remove_if_left(left)
        staging, held = _made(place, out)
    except OSError as error:
        raise unwritten(out, error, "choose another --out") from error
    try:
        yield staging
        _publish(staging, out)
    except OSError as error:
        # A full disk names no file, or one in the temporary folder; the reader knows only the place asked for.
        if error.errno in RAN_OUT or str(error.filename).startswith(str(staging)):
            file = _being_written(staging, error)
            raise unwritten(out / file, error, "free some space or choose another --out") from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if held is not None:
            os.close(held)


def _made(place: Path, out: Path) -> tuple[Path, int | None]:
    """A folder to make files in, and its lock; named for the output, so that another run into it meets the lock.

    Raises
    ------
    CapsimError
        If another run is on its way there.
    """
    with suppress(ImportError, OSError):  # Windows has no fcntl, some network file systems no lock of a folder
        with _held(place, exclusive=False):
            pass
        inside = out.absolute().relative_to(place.absolute()).as_posix().encode("utf-8", "surrogateescape")
        staging = place / f"{STAGING}{hashlib.sha256(inside).hexdigest()[:16]}"
        return staging, _locked(staging, out)
    return Path(tempfile.mkdtemp(prefix=STAGING, dir=place)), None


def _locked(staging: Path, out: Path) -> int:
    import fcntl

    while True:
        with suppress(FileExistsError):
            staging.mkdir(mode=0o700)
        try:
            opened = os.open(staging, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # the run that had it has just ended
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if staging.exists() and os.path.samestat(os.fstat(opened), staging.stat()):
                if not any(staging.iterdir()):
                    return opened
                shutil.rmtree(staging)
        except BlockingIOError:
            os.close(opened)
            raise CapsimError(f"{out}: another run is writing there; wait for it, or choose another --out") from None
        os.close(opened)


def _remove_if_left(path: Path) -> None:
    """Remove what a killed run has left; what a living one holds stays."""
    with suppress(ImportError, OSError), _held(path, wait=False):
        shutil.rmtree(path)


@contextmanager
def _held(path: Path, *, exclusive: bool = True, wait: bool = True) -> Iterator[None]:
    """Lock a folder."""
    import fcntl

    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(opened)


def _being_written(staging: Path, error: OSError) -> Path:
    """The file, within the folder, that could not be written: it is named by the error, or the last one touched."""
    with suppress(ValueError, TypeError):
        return Path(error.filename).relative_to(staging)
    files = [path for path in staging.rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_mtime_ns, default=staging).relative_to(staging)


def _publish(staging: Path, out: Path) -> None:
    names = sorted(p.relative_to(staging).as_posix() for p in staging.rglob("*") if p.is_file())
    sums = [f"{hashlib.sha256((staging / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (staging / SUMS).write_text("".join(sums), encoding="utf-8")
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as alone:
        with suppress(ImportError, OSError):  # of a run that began before there was such a folder
            alone.enter_context(_held(out))
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
