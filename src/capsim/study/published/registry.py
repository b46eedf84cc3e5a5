"""All tables, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from capsim.base.errors import CapsimError
from capsim.base.files import folder
from capsim.base.paths import data_dir
from capsim.study.published import bills, loads, market, memory
from capsim.study.published import uncertainty as doubt
from capsim.study.published.runs import Runs
from capsim.study.published.table import Published

if TYPE_CHECKING:
    import pandas as pd

MAKERS: tuple[Callable[[Runs], Published], ...] = (
    bills.before_after,
    memory.before_after,
    doubt.intervals,
    doubt.narrowing,
    bills.stops,
    loads.hobby,
    loads.by_load,
    loads.by_knob,
    bills.by_plan_and_date,
    bills.by_cycle,
    bills.backups,
    market.providers,
)


def tables(seed: int = 0) -> list[Published]:
    """Make all tables; 30 to 60 s of CPU, most of it the two months that are simulated request by request.

    Parameters
    ----------
    seed : int
        The address of all chance; the published ones have 0.
    """
    runs = Runs(seed)
    return [make(runs) for make in MAKERS]


def publish(content: dict[str, str], out: Path) -> None:
    """Write the files of a folder; each is whole at every moment, and a failure leaves those of before.

    The list of checksums comes last, so a folder that was left half-way is told by it and by ``--check``.

    Parameters
    ----------
    content : dict of str to str
        Text by file name; all of it is made before the first file is touched.
    out : Path
        The folder; absent, empty, or written by capsim before.
    """
    with folder(out) as staging:
        for name, text in content.items():
            (staging / name).write_text(text, encoding="utf-8", newline="\n")


def read(name: str) -> pd.DataFrame:
    """A committed table, by the name of its file without the ending.

    Examples
    --------
    >>> "rate_hz" in read("cost_by_load").columns
    True
    """
    import pandas as pd

    path = data_dir() / "tables" / f"{name}.csv"
    if not path.is_file():
        names = ", ".join(sorted(other.stem for other in path.parent.glob("*.csv")))
        raise CapsimError(f"there is no table {name!r}; tables: {names}")
    return pd.read_csv(path)
