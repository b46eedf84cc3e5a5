"""The volume of Postgres: when it is full, and what the reader of a run should know about its limits."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from capsim.base.errors import CapsimError
from capsim.base.units import GB, MIB
from capsim.memory.postgres import memory_limit_mib, volume_limit_mib, volume_wanted_mib
from capsim.scenario.columns import LOSSES
from capsim.scenario.database import FaultSpec
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS

_DAY_S = 86_400.0
_LOOK_AHEAD_DAYS = 366.0  # a volume that lasts longer is no finding


@dataclass(frozen=True)
class Full:
    """When a volume is full.

    Parameters
    ----------
    volume_gb : float
        Its size [GB].
    at_s : float
        Since the start of the load [s].
    date : datetime.date
        Counted from the first day of the billed month.
    simulated : bool
        Whether the run reaches it; otherwise the growth of its second half is carried on.
    """

    volume_gb: float
    at_s: float
    date: dt.date
    simulated: bool


def volume_full(samples: pd.DataFrame, scenario: Scenario, volume_gb: float | None = None) -> Full | None:
    """When the volume of Postgres is full.

    Parameters
    ----------
    samples : DataFrame
        Columns of `capsim.scenario.columns.SAMPLES`, in order of time.
    scenario : Scenario
    volume_gb : float, optional
        Another size than the scenario's [GB].

    Returns
    -------
    Full or None
        None if the volume does not grow. Rows that the full volume would have refused are counted as if they
        had found room, so only the date is meant. Growth per event row: 1,540 bytes, within 1 % (C10).

    Raises
    ------
    CapsimError
        If the size is not above 0.

    Examples
    --------
    >>> from capsim.scenario.columns import SAMPLES, empty
    >>> spec = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> hours = empty(SAMPLES).reindex(range(24)).fillna(0).assign(time_s=np.arange(24) * 3600.0, width_s=3600.0)
    >>> full = volume_full(hours.assign(db_rows=20 * 3600), spec, 50)  # 20 event rows a second for a day
    >>> full.simulated, str(full.date)
    (False, '2026-02-21')
    """
    if volume_gb is not None and not volume_gb > 0:
        raise CapsimError(f"volume_gb is {volume_gb:g}; give more than 0")
    size = volume_limit_mib(scenario) if volume_gb is None else volume_gb * GB / MIB
    if not len(samples) or not np.isfinite(size):
        return None
    end_s = (samples["time_s"] + samples["width_s"]).to_numpy(np.float64)
    used = volume_wanted_mib(samples, scenario)
    if used[-1] >= size:
        at_s = float(np.interp(size, used, end_s))
    else:
        middle = len(used) // 2
        per_s = (used[-1] - used[middle]) / max(end_s[-1] - end_s[middle], 1.0)
        if per_s <= 0:
            return None
        at_s = float(end_s[-1] + (size - used[-1]) / per_s)
    days = min(at_s / _DAY_S, 1e6)
    date = scenario.billing.from_date + dt.timedelta(days=int(days))
    return Full(size * MIB / GB, at_s, date, bool(used[-1] >= size))


def lost_when_full(samples: pd.DataFrame, at_s: float) -> float:
    """Items that a volume which is full from an instant on [s] loses, where the samples go on as if there were room.

    Every write fails from then on, so whatever arrives is lost; met within 1 % by the simulation of it
    (``tests/memory/test_full_volume.py``).
    """
    end_s = (samples["time_s"] + samples["width_s"]).to_numpy(np.float64)
    share = np.clip((end_s - at_s) / samples["width_s"].to_numpy(np.float64), 0.0, 1.0)
    offered = samples[[f"{stream}_arrived" for stream in STREAMS]].sum(axis=1).to_numpy(np.float64)
    known = samples[[f"{stream}_{how}" for stream in STREAMS for how in LOSSES]].sum(axis=1).to_numpy(np.float64)
    return float((np.maximum(offered - known, 0.0) * share).sum())


def filled(scenario: Scenario, from_s: float, to_s: float) -> Scenario:
    """The scenario with a volume that is full from an instant on [s]; of all its faults this one comes first.

    Examples
    --------
    >>> spec = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> filled(spec, 30, 60).database.faults[0].kind
    'full'
    """
    fault = FaultSpec(kind="full", from_s=from_s, to_s=max(to_s, from_s + 0.001))  # full with the last row, at the end
    faults = (fault, *scenario.database.faults)
    return scenario.model_copy(update={"database": scenario.database.model_copy(update={"faults": faults})})


def storage_notes(samples: pd.DataFrame, scenario: Scenario, stopped_s: float | None = None) -> list[str]:
    """What a run should say about the volume and the memory limit of Postgres; empty if both suffice.

    Parameters
    ----------
    samples : DataFrame
        Columns of `capsim.scenario.columns.SAMPLES` and `MEMORY`.
    scenario : Scenario
    stopped_s : float, optional
        Since when a full volume has stopped the writes of this run [s].
    """
    notes = []
    if stopped_s is not None:
        gone = sum(float(samples[f"{stream}_{how}"].sum()) for stream in STREAMS for how in LOSSES)
        date = scenario.billing.from_date + dt.timedelta(days=int(stopped_s / _DAY_S))
        notes.append(
            f"the volume of postgres ({volume_limit_mib(scenario) * MIB / GB:g} GB) is full on {date}, "
            f"{stopped_s / _DAY_S:,.3g} days after the start of the load: every write fails from then on; "
            f"{gone:,.0f} items are lost in the whole run"
        )
    full = None if stopped_s is not None else volume_full(samples, scenario)
    if full is not None and full.at_s / _DAY_S <= _LOOK_AHEAD_DAYS:
        when = f"on {full.date}, {full.at_s / _DAY_S:,.3g} days after the start of the load"
        notes.append(
            f"the volume of postgres ({full.volume_gb:g} GB) is full {when}: every write fails from then on. That is "
            "not simulated (database.stops_when_full = true does): the items that come later are counted as lost, and "
            "the files and their page cache are billed as they stand"
            if full.simulated
            else f"at this growth the volume of postgres ({full.volume_gb:g} GB) is full {when}: writes stop then"
        )
    limit, needed = scenario.database.memory_limit_mib, float(samples["postgres_billed_lower_mib"].max())
    if limit != "plan" and needed > memory_limit_mib(scenario):
        notes.append(
            f"postgres needs up to {needed:,.0f} MiB that cannot be given back, more than its limit of {limit} MiB: "
            "it would be killed (exit code 137); raise database.memory_limit_mib or lower server.pool.limit or "
            "database.shared_buffers_mib"
        )
    return notes
