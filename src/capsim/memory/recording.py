"""Recorded processes beside the model: one row of errors for each run of a file.

The file is a table of samples (CSV) of one or more runs; a small companion in TOML says by what load each was caused.
The model sees the recorded number of requests and the companion, never the recorded memory; docs/memory.md has both.
"""

from __future__ import annotations

import fnmatch
import tomllib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.errors import CapsimError
from capsim.memory.constants import value
from capsim.memory.heap import Process, compare, simulate
from capsim.memory.kit import Flushes, replay
from capsim.specs import Count, MixSpec, NotNegative, Positive, Share, Spec
from capsim.units import MIB

Floats = NDArray[np.float64]

NEEDED = ("run", "t_s", "rss", "rssFile", "gcMajor", "reqs_or_count")
MEAN_WITHIN, PEAK_WITHIN, COLLECTIONS_WITHIN, RETAINED_WITHIN = 0.05, 0.10, 1.6, 0.07
_SEEDS = range(1, 6)
_FEW = 8  # collections of a run, below which their rate is a matter of chance
_AHEAD_S = 30  # how long a load that was still on is continued, to see whether the process dies


class LoadSpec(Spec):
    """What a recorded process did: a table ``[[run]]`` of the companion, or its ``[defaults]``."""

    match: str = "*"  # which runs, as a file-name pattern
    use: bool = True
    fitted: bool = False  # constants were fitted on it
    stopped: bool = False  # by hand, under load: it did not die
    rules: Literal["kit", "keep"] = "kit"  # batch writers of the stand-in, or a program that keeps every item
    mix: MixSpec = MixSpec()
    buffer_cap_rows: Count | None = None
    flush_s: Positive = 0.02
    slow_flush_s: NotNegative = 0.0
    slow_from_s: NotNegative = 0.0
    slow_to_s: NotNegative = 0.0
    row_bytes: Positive = value("event_row")  # heap of an event, or of an item kept
    heap_cap_mib: Positive = 4096.0
    semi_space_mib: Positive = 16.0
    live_mib: NotNegative = value("live_base")  # live bytes of the idle program, a loaded data set included
    allocated_kib: Positive = value("allocated_request")
    promoted_kib: NotNegative = value("promoted_request")
    off_heap_mib: NotNegative = value("server_off_heap")
    off_heap_share: NotNegative = 0.0
    cpu_share: Share = 1.0  # of the CPU that the collector asked for
    repeat_spread: NotNegative = 0.0  # relative difference of repeats; errors up to twice as large pass


def check(path: Path | str, companion: Path | str | None = None) -> pd.DataFrame:
    """Simulate every run of a recording and put the model's memory beside the measured.

    Parameters
    ----------
    path : path
        Table of samples; columns at least those of `NEEDED`, memory in MiB.
    companion : path, optional
        Description of the loads; by default the file beside it with the suffix ``.toml``.

    Returns
    -------
    DataFrame
        A row per run: ``run``, ``fitted``, measured and model ``mean``, ``median``, ``p95``, ``peak`` of resident
        memory [MiB] and ``collections`` per minute while loaded (the model's as mean of five seeds), ``died`` and
        ``model_died``, ``retained`` and ``model_retained`` rows at death, ``passed`` and ``note``. A run passes with
        its mean within 5 %, its peak within 10 % (or twice the spread of its repeats), collections within a factor of
        1.6 where there were eight or more, and the right end.

    Raises
    ------
    CapsimError
        One line for each column that is missing, unit that is another, key that is unknown.
    """
    path = Path(path)
    table = _read(path)
    loads = _loads(Path(companion) if companion else path.with_suffix(".toml"))
    rows = []
    for name, samples in table.groupby("run", sort=False):
        load = _load_of(str(name), loads)
        if load.use:
            rows.append({"run": name, "fitted": load.fitted} | _row(samples.reset_index(drop=True), load))
    if not rows:
        raise CapsimError(f"{path}: no run is left to check; the companion sets use = false for all of them")
    return pd.DataFrame(rows)


def held_mib(samples: pd.DataFrame, load: LoadSpec) -> Floats:
    """Bytes that the program keeps at each sample, by the rules of its writers [MiB]."""
    t = samples["t_s"].to_numpy(np.float64)
    count = samples["reqs_or_count"].to_numpy(np.float64)
    if load.rules == "keep":
        return count * load.row_bytes / MIB
    flushes = Flushes(load.flush_s, load.slow_flush_s, load.slow_from_s, load.slow_to_s)
    cap = float(load.buffer_cap_rows or np.inf)
    streams = (
        (load.mix.events, load.row_bytes),
        (load.mix.revenue, value("revenue_row")),
        (load.mix.heartbeats, value("heartbeat_row")),
    )
    held = np.zeros(t.size)
    for share, row in streams:
        if share:
            rows = replay(t, share * count, flushes, cap)
            held += rows.buffered * row + rows.in_flight * (row + value("insert_text_row"))
    return held / MIB


def _row(samples: pd.DataFrame, load: LoadSpec) -> dict[str, Any]:
    samples, note = _usable(samples)
    served = samples["reqs_or_count"].diff().to_numpy() > 0
    if not served.any():
        return {"passed": False, "note": "no requests were served in it"}
    on = np.flatnonzero(served)
    from_s, to_s = float(samples["t_s"][on[0]]), float(samples["t_s"][on[-1]])
    died = bool(on[-1] == len(samples) - 1) and not load.stopped
    process = Process(
        cap_mib=load.heap_cap_mib,
        semi_space_mib=load.semi_space_mib,
        live_mib=load.live_mib,
        allocated_kib=load.allocated_kib,
        promoted_kib=load.promoted_kib,
        file_mib=float(samples["rssFile"].iloc[-1]),
        off_heap_mib=load.off_heap_mib,
        off_heap_share=load.off_heap_share,
        cpu_share=load.cpu_share,
    )
    ahead = _continued(samples, load) if died else samples
    held, t = held_mib(ahead, load), ahead["t_s"].to_numpy(np.float64)
    count = ahead["reqs_or_count"].to_numpy(np.float64)
    runs = [simulate(t, count, held, process, seed) for seed in _SEEDS]
    each = [compare(samples, run, from_s, to_s) for run in runs]
    compared = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    ends = [run.attrs["died_at_s"] for run in runs]
    dead = [e for e in ends if e is not None]
    out: dict[str, Any] = compared | {"died": died, "model_died": len(dead) > len(ends) / 2}
    out["retained"] = float(samples["reqs_or_count"].iloc[-1]) if died else np.nan
    out["model_retained"] = float(np.interp(np.median(dead), t, count)) if out["model_died"] else np.nan
    collected = float(samples["gcMajor"].iloc[-1])
    out["passed"] = _passes(out, load, collected)
    return out | {"note": note}


def _passes(row: dict[str, Any], load: LoadSpec, collected: float) -> bool:
    mean = abs(row["model_mean"] / row["measured_mean"] - 1)
    peak = abs(row["model_peak"] / row["measured_peak"] - 1)
    slack = 2 * load.repeat_spread
    good = mean <= max(MEAN_WITHIN, slack) and peak <= max(PEAK_WITHIN, slack) and row["died"] == row["model_died"]
    if collected >= _FEW:
        ratio = row["model_collections"] / row["measured_collections"]
        good &= 1 / COLLECTIONS_WITHIN <= ratio <= COLLECTIONS_WITHIN
    if row["died"] and row["model_died"] and load.rules == "keep":
        good &= abs(row["model_retained"] / row["retained"] - 1) <= RETAINED_WITHIN
    return bool(good)


def _usable(samples: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The part before a restart, and what was odd about the run."""
    notes = []
    back = np.flatnonzero((samples["t_s"].diff() <= 0) | (samples["reqs_or_count"].diff() < 0))
    if back.size:
        notes.append(f"restarts at row {int(back[0])}: only what is before it is used")
        samples = samples.iloc[: int(back[0])]
    steps = samples["t_s"].diff().to_numpy()[1:]
    if steps.size and steps.max() > 10 * np.median(steps):
        notes.append(f"a gap of {steps.max():.1f} s")
    return samples, "; ".join(notes)


def _continued(samples: pd.DataFrame, load: LoadSpec) -> pd.DataFrame:
    """The load goes on at its last rate: a dying process is too busy to record its end."""
    tail = samples.tail(max(3, len(samples) // 4))
    seconds = tail["t_s"].iloc[-1] - tail["t_s"].iloc[0]
    rate = (tail["reqs_or_count"].iloc[-1] - tail["reqs_or_count"].iloc[0]) / seconds
    more = np.arange(0.5, _AHEAD_S + 0.5, 0.5)
    last = samples.iloc[-1]
    later = pd.DataFrame({"t_s": last["t_s"] + more, "reqs_or_count": last["reqs_or_count"] + rate * more})
    return pd.concat([samples[["t_s", "reqs_or_count"]], later], ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise CapsimError(f"{path}: cannot be read as a table of samples: {error}") from error
    if "run" not in table:
        table.insert(0, "run", path.stem)
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise CapsimError(*(f"{path}: column {name} is missing; docs/memory.md lists the columns" for name in missing))
    for name in NEEDED[1:]:
        bad = pd.to_numeric(table[name], errors="coerce").isna()
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            raise CapsimError(f"{path}: row {at + 2}: {name} is {table[name][at]!r}; give a number")
    if table["rss"].median() > 50_000:
        raise CapsimError(f"{path}: rss is {table['rss'].median():,.0f} in the middle; give MiB, not bytes or KiB")
    return table


def _loads(path: Path) -> list[dict[str, Any]]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CapsimError(f"{path}: not found; it describes the load of the recording (docs/memory.md)") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CapsimError(f"{path}: {error}") from error
    unknown = sorted(set(data) - {"defaults", "run"})
    if unknown:
        raise CapsimError(*(f"{path}: {key} is not known; give [defaults] and [[run]]" for key in unknown))
    loads = [data.get("defaults", {}), *data.get("run", [])]
    from capsim.scenario import validated  # the wording of errors lives with the reader of scenarios

    for load in loads:
        validated(LoadSpec, load, str(path))
    return loads


def _load_of(run: str, loads: list[dict[str, Any]]) -> LoadSpec:
    """Defaults, overlaid by every table whose pattern matches, in the order of the file."""
    merged: dict[str, Any] = {}
    for load in loads:
        if fnmatch.fnmatchcase(run, load.get("match", "*")):
            merged |= load
    return LoadSpec.model_validate(merged)
