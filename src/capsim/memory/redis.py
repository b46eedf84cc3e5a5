"""Memory and CPU of Redis: a cache of a fixed size, a few clients, and the files that it keeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base.units import GB, MIB
from capsim.memory.constants import PUBLISHED, Values
from capsim.memory.container import cached_mib
from capsim.scenario.prices import limits_on
from capsim.scenario.scenario import Scenario

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Content:
    """Keys of one size.

    Parameters
    ----------
    keys : int
    value_bytes : float
        Mean size of a value [bytes]; measured at 100 and 1,000, within 6 %.
    compressed : float
        Size of a value in a file, as a share of its size in memory: 1 for random values, 0.2 for values of a
        few repeated letters (measured).
    value : Values
        The constants of the memory model.

    Examples
    --------
    >>> content = Content(100_000, 1_000)
    >>> round(content.memory_mib, 1), round(content.rdb_mib, 1)  # measured: 109.0, 96.3
    (109.0, 96.3)
    """

    keys: int
    value_bytes: float
    compressed: float = 1.0
    value: Values = PUBLISHED

    @property
    def memory_mib(self) -> float:
        """Memory of the keys in the server [MiB]."""
        return self.keys * (self.value_bytes + self.value("redis_key")) / MIB

    @property
    def rdb_mib(self) -> float:
        """Size of a snapshot, or of an append-only file just rewritten [MiB]."""
        return self.keys * (self.value_bytes + self.value("redis_rdb_key")) * self.compressed / MIB

    def aof_mib(self, writes: int) -> float:
        """What so many writes add to the append-only file [MiB]; they are never compressed."""
        return writes * (self.value_bytes + self.value("redis_aof_command")) / MIB


def columns(samples: pd.DataFrame, scenario: Scenario, value: Values) -> dict[str, Floats]:
    """Redis' part of `capsim.scenario.columns.MEMORY`: the same in every bin.

    Parameters
    ----------
    samples : DataFrame
        Any table of bins; only its length counts.
    scenario : Scenario

    Returns
    -------
    dict of str to array, shape (n,)
        By column name. *Lower* counts no file page. *Expected*: mapped program files, and the files of the
        persistence: one snapshot, or an append-only file half-way between two rewrites. *Upper*: every page of
        program files read, and all files at their largest, a snapshot or rewrite being written included. What
        a snapshot under writes copies for seconds is in `capsim.memory.redis_phases`, not here.
    """
    spec = scenario.redis
    content = Content(spec.keys, spec.value_bytes, value=value)
    files = {"none": (0.0, 0.0), "rdb": (1.0, 2.0), "aof": (1.5, 3.0)}[spec.persistence]
    limits = limits_on(scenario.billing.plan, scenario.billing.from_date)
    limit = float("inf") if limits is None else float(limits.ram_gb) * GB / MIB
    held = value("redis_anon") + value("redis_kernel") + spec.clients * value("redis_client") / 1024
    held += content.memory_mib * (1 + value("redis_page_tables"))
    share = value("kernel_written")
    expected, upper = (content.rdb_mib * factor * (1 + share) for factor in files)
    most = upper + value("redis_cache") + value("group_overhead")
    one = np.ones(len(samples))
    return {
        "redis_cpu_vcpu": value("redis_cpu_idle") * one,
        "redis_billed_lower_mib": held * one,
        "redis_billed_mib": (held + cached_mib(expected + value("redis_mapped"), held, limit)) * one,
        "redis_billed_upper_mib": (held + cached_mib(most, held, limit)) * one,
    }
