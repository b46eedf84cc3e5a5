"""A memory cgroup of our own, with a limit, where the machine lets us make one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from capsim.base.units import MIB

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Group:
    """A group of processes whose memory the kernel counts and bounds."""

    folder: Path
    version: int

    def join_script(self) -> str:
        """Shell words that move the shell into the group before it becomes something else."""
        return f'echo $$ > "{self.folder / "cgroup.procs"}"'

    def usage_mib(self) -> float | None:
        """What the kernel charges the group with [MiB]."""
        name = "memory.usage_in_bytes" if self.version == 1 else "memory.current"
        try:
            return int((self.folder / name).read_text()) / MIB
        except (OSError, ValueError):
            return None


@contextmanager
def group(limit_mib: float | None) -> Iterator[tuple[Group | None, str]]:
    """Lend a group below our own; with it a line that says why there is none.

    Parameters
    ----------
    limit_mib : float or None
        Limit of the group [MiB].
    """
    made, reason = _make(limit_mib)
    try:
        yield made, reason
    finally:
        if made is not None:
            _remove(made.folder)


def _make(limit_mib: float | None) -> tuple[Group | None, str]:
    place = _own()
    if place is None:
        return None, "no memory cgroup is mounted here"
    parent, version = place
    folder = parent / f"capsim-{os.getpid()}"
    try:
        folder.mkdir()
        if limit_mib is not None:
            name = "memory.limit_in_bytes" if version == 1 else "memory.max"
            (folder / name).write_text(str(int(limit_mib * MIB)))
        usage = "memory.usage_in_bytes" if version == 1 else "memory.current"
        if not (folder / usage).is_file():
            raise PermissionError(1, "the memory controller is not handed down to new groups")
    except OSError as error:
        _remove(folder)
        return None, f"no memory cgroup could be made here ({error.strerror})"
    return Group(folder, version), ""


def _own() -> tuple[Path, int] | None:
    """The folder of this process's group in the hierarchy that counts memory, and the version of that hierarchy."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        number, controllers, path = line.split(":", 2)
        v2 = number == "0" and not controllers and (ROOT / "cgroup.controllers").is_file()
        if "memory" in controllers.split(",") or v2:
            base = ROOT if v2 else ROOT / "memory"
            folder = base / path.lstrip("/")
            return (folder if folder.is_dir() else base), 2 if v2 else 1
    return None


def _remove(folder: Path) -> None:
    """Remove the group; its last process may take a moment to leave."""
    for _ in range(20):
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.1)
