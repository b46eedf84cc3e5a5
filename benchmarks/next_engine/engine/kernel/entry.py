"""The kernel's one compiled entry, kept in a folder that is named after all that it was compiled from."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numba
from numba import njit

from capsim.engine.kernel import machine

HERE = Path(__file__).parent
NAME = "kernel-"


@cache
def entry() -> Callable[..., int]:
    """`capsim.engine.kernel.machine.run` as machine code; says in a line when it has to be compiled first."""
    places = [HERE / "__pycache__", _user_cache()]
    for place in places:
        folder = place / (NAME + key())
        if not _is_writable(folder):
            continue
        if not any(folder.rglob("*.nbi")):
            _say("compiling the simulation, once per installation; some 30 s")
            _remove_others(folder)
        before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
        try:
            return njit(cache=True)(machine.run)  # type: ignore[no-any-return]
        finally:
            numba.config.CACHE_DIR = before
    _say(
        f"compiling the simulation, some 30 s, in every process: neither {places[0]} nor {places[1]} can be written; "
        "set XDG_CACHE_HOME to a folder that can"
    )
    return njit(machine.run)  # type: ignore[no-any-return]


@cache
def key() -> str:
    """Names what the machine code depends on: every module of the kernel, and numba; its own index knows the CPU."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version_info[:2]}".encode())
    for file in sorted(HERE.rglob("*.py")):
        digest.update(file.relative_to(HERE).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "capsim"


def _is_writable(folder: Path) -> bool:
    probe = folder / f".{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except (OSError, RuntimeError):
        return False
    return True


def _remove_others(folder: Path) -> None:
    """Machine code of what the modules were before is of no use any more."""
    for other in folder.parent.glob(NAME + "*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _say(line: str) -> None:
    print(f"capsim: {line}", file=sys.stderr, flush=True)
