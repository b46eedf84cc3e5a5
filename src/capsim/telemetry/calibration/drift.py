"""Whether a recording stays within what a scenario predicts for its load; if not: in which part, since when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base.errors import CapsimError
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.telemetry.calibration.prediction_interval import drawn, model_error, sd_of
from capsim.telemetry.calibration.segments import Segment, stretches
from capsim.telemetry.calibration.simulator import Simulator
from capsim.workload.recordings.model import Recording

Floats = NDArray[np.float64]

DRAWS = 20
BUDGET = 40_000.0  # events of one run: a quarter of a second
Z = 2.576  # of the band: 99 %
IN_A_ROW = 3  # blocks outside on one side
BLOCKS_A_STRETCH = 6  # of five minutes, in a stretch of half an hour
FEWEST_IN_BLOCK = 4

PARTS = ("resident", "heap total", "heap used", "beside the heap")


class Left(NamedTuple):
    """A part that left its band."""

    part: str
    since_us: int
    side: Literal["above", "below"]
    measured: float
    predicted: float
    low: float
    high: float
    unit: str
    to_the_end: bool


class RecordingDrift(NamedTuple):
    """A recording beside a prediction.

    Attributes
    ----------
    blocks : DataFrame
        One row a block of some five minutes and part: ``part``, ``time_s``, ``measured``, ``predicted``, ``low``,
        ``high`` (99 % band), ``outside`` (-1, 0, 1).
    left : tuple of Left
        Parts that left their band for good or for three blocks in a row, the earliest first.
    """

    blocks: pd.DataFrame
    left: tuple[Left, ...]


def drift(scenario: Scenario, recording: Recording, seed: int = 0) -> RecordingDrift:
    """Look for drift.

    Parameters
    ----------
    scenario : Scenario
        Its constants predict the memory of the recorded load; its pool and buffers bound the rest.
    recording : Recording
    seed : int
        Address of the draws.

    Returns
    -------
    RecordingDrift
        The band holds what is known of the constants, chance, and what the model was off by when it was fitted.
        Constants are drawn one by one, which makes it wider than the fit's own.

    Raises
    ------
    CapsimError
        If the recording is too short.
    """
    parts = stretches(recording, BUDGET, scenario)
    simulator = Simulator(scenario, parts, recording.step_mib)
    numbers, time_s = _blocks(parts)
    if not len(time_s):
        raise CapsimError(f"{recording.name}: too few samples for a block of {FEWEST_IN_BLOCK}; record for longer")
    seen = _means(np.concatenate([p.measured for p in parts], axis=1), numbers, len(time_s))
    runs = np.array(
        [
            _means(simulator.samples(constants, 40_000 + i), numbers, len(time_s))
            for i, constants in enumerate(drawn(scenario, seed, DRAWS))
        ]
    )
    error = model_error(scenario)
    rows, left = [], []
    for i, part in enumerate(PARTS):
        middle, sd = np.median(runs[:, i], axis=0), sd_of(runs[:, i], error)
        # A mean of few rounded samples, and where on the saw-tooth they fell, is not known better than this.
        sd = np.sqrt(sd**2 + 0.3**2)
        low, high = np.maximum(middle - Z * sd, 0.0), middle + Z * sd
        outside = np.sign((seen[i] > high).astype(int) - (seen[i] < low).astype(int))
        rows.append(
            pd.DataFrame(
                {"part": part, "time_s": time_s, "measured": seen[i], "predicted": middle, "low": low, "high": high,
                 "outside": outside}
            )
        )  # fmt: skip
        if (at := _since(outside)) is not None:
            left.append(_left(part, at, rows[-1], recording, "MiB"))
    left += _bounds(scenario, recording)
    return RecordingDrift(pd.concat(rows, ignore_index=True), tuple(sorted(left, key=lambda one: one.since_us)))


def _blocks(parts: Sequence[Segment]) -> tuple[NDArray[np.int64], Floats]:
    """Number of the block of each compared sample (-1: of none), and the middle of each block [s]."""
    numbers, middles, count = [], [], 0
    for part in parts:
        times = part.time_s[part.seen]
        own = np.minimum(
            ((times - times[0]) / max(times[-1] - times[0], 1e-9) * BLOCKS_A_STRETCH), BLOCKS_A_STRETCH - 1
        )
        label = np.full(len(times), -1)
        for block in range(BLOCKS_A_STRETCH):
            inside = own.astype(int) == block
            if inside.sum() >= FEWEST_IN_BLOCK:
                label[inside] = count
                middles.append(float(times[inside].mean()))
                count += 1
        numbers.append(label)
    return np.concatenate(numbers), np.array(middles)


def _means(samples: Floats, numbers: NDArray[np.int64], count: int) -> Floats:
    rss, total, used = samples[:, numbers >= 0]
    own = numbers[numbers >= 0]
    sizes = np.bincount(own, minlength=count)
    return np.array([np.bincount(own, v, count) / sizes for v in (rss, total, used, rss - total)])


def _since(outside: NDArray[np.int64]) -> int | None:
    """The first block of a run of `IN_A_ROW` on one side, or of one that lasts to the end."""
    need = min(IN_A_ROW, len(outside))
    for at in range(len(outside) - need + 1):
        if outside[at] and (outside[at : at + need] == outside[at]).all():
            return at
    return None


def _left(part: str, at: int, table: pd.DataFrame, recording: Recording, unit: str) -> Left:
    row = table.iloc[at]
    side = int(row["outside"])
    after = table["outside"].to_numpy()[at:]
    return Left(
        part=part,
        since_us=recording.start_us + round(1e6 * float(row["time_s"])),
        side="above" if side > 0 else "below",
        measured=float(row["measured"]),
        predicted=float(row["predicted"]),
        low=float(row["low"]),
        high=float(row["high"]),
        unit=unit,
        to_the_end=bool((after == side).mean() > 0.9 and after[-1] == side),
    )


def _bounds(scenario: Scenario, recording: Recording) -> list[Left]:
    """What a scenario bounds and counters tell: buffers by their caps, connections by the pool, drops."""
    samples = recording.samples
    checks: list[tuple[str, pd.Series[float], float, str]] = []
    for stream in STREAMS:
        cap = getattr(scenario.server.writers, stream).buffer_cap_rows
        if cap != "none":
            checks.append((f"buffer of {stream}", samples[f"{stream}_buffer_rows"], float(cap), "rows"))
        dropped = samples.groupby("process")[f"{stream}_dropped"].diff().fillna(0.0)
        checks.append((f"drops of {stream}", dropped, 0.0, "items in a step"))
    checks.append(("connections", samples["db_connections"], float(scenario.server.pool_limit), "connections"))
    found = []
    for part, values, bound, unit in checks:
        over = (values > bound).to_numpy()
        if over.any():
            at = int(np.argmax(over))
            since = recording.start_us + round(1e6 * float(samples["time_s"].iloc[at]))
            worst = float(values.iloc[at])
            found.append(Left(part, since, "above", worst, bound, 0.0, bound, unit, bool(over[-1])))
    return found
