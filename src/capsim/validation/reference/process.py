"""What the operating system says of the server and of its database: a tidy table of samples."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from capsim.base.units import MIB

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "time_s": "since the first sample [s]",
    "of": "whose processes: server, database, ...",
    "processes": "how many",
    "rss_mib": "resident, shared pages counted once for each process [MiB]",
    "uss_mib": "memory that would be free if they ended [MiB]",
    "cpu_s": "CPU used since each began [s]",
    "connections": "open network connections",
    "switches_voluntary": "context switches while waiting, since each began",
    "switches_involuntary": "context switches for lack of CPU, since each began",
}


def family(pid: int) -> list[psutil.Process]:
    """A process and its descendants; none if it has ended."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def sample(of: str, processes: Iterable[psutil.Process], time_s: float) -> dict[str, Any]:
    """One row: sums over the processes that still live."""
    row: dict[str, Any] = dict.fromkeys(COLUMNS, 0) | {"time_s": time_s, "of": of}
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied), process.oneshot():
            memory = process.memory_full_info()
            cpu = process.cpu_times()
            switches = process.num_ctx_switches()
            row["processes"] += 1
            row["rss_mib"] += memory.rss / MIB
            row["uss_mib"] += memory.uss / MIB
            row["cpu_s"] += cpu.user + cpu.system
            row["connections"] += len(process.net_connections())
            row["switches_voluntary"] += switches.voluntary
            row["switches_involuntary"] += switches.involuntary
    return row


class ProcessSamples:
    """Samples groups of processes at a fixed interval, as a task, until it is cancelled.

    A sample takes 15 to 40 ms, most of them in the kernel, which walks all pages. On the event loop that made the 99th
    percentile of a flush higher than it is; so a thread takes it.

    Parameters
    ----------
    groups : dict
        Name to a function that lists the group's processes now.
    every_s : float
        Interval [s].
    """

    def __init__(self, groups: dict[str, Callable[[], list[psutil.Process]]], every_s: float = 1.0) -> None:
        self._groups, self._every_s = groups, every_s
        self.rows: list[dict[str, Any]] = []

    async def run(self) -> None:
        """Sample for ever."""
        start_s = time.monotonic()
        number = 0
        while True:
            self.rows += await asyncio.to_thread(self._sampled, time.monotonic() - start_s)
            number += 1
            await asyncio.sleep(max(0.0, start_s + number * self._every_s - time.monotonic()))

    def _sampled(self, time_s: float) -> list[dict[str, Any]]:
        return [sample(of, processes(), time_s) for of, processes in self._groups.items()]

    def table(self) -> pd.DataFrame:
        """The samples so far, columns of `COLUMNS`."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=list(COLUMNS))
