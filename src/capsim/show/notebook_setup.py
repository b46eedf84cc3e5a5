"""The first cell of a notebook: says what to do if something is missing, before anything else is tried."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from capsim.base.errors import CapsimError

if TYPE_CHECKING:
    from capsim.workload import Trace

# The package that shows whether an extra is installed.
EXTRAS = {
    "notebooks": "ipywidgets", "server": "aiohttp", "sweep": "SALib", "scale": "distributed", "traces": "duckdb",
    "inspect": "dotenv", "calibrate": "numba",
}  # fmt: skip


def ready(trace: str | None = None, *, extras: tuple[str, ...] = ()) -> Trace | None:
    """Check what a notebook needs, and read its load.

    Parameters
    ----------
    trace : str, optional
        Name of a bundled load, or a file.
    extras : tuple of str
        Optional parts of capsim that the notebook uses.

    Returns
    -------
    Trace or None
        The load, if one was named.

    Raises
    ------
    CapsimError
        With a line for everything that is missing, each with what to do: the extra to install; where the file was
        looked for, seen from the folder in which the notebook was started, and which loads are bundled.

    Examples
    --------
    >>> ready("game-day").name
    'game-day'
    """
    from capsim.workload import find_trace, read_trace

    problems = [
        f"this notebook needs the extra '{extra}': pip install 'capsim[{extra}]', then restart the kernel"
        for extra in extras
        if importlib.util.find_spec(EXTRAS[extra]) is None
    ]
    found = None
    if trace is not None:
        try:
            found = read_trace(find_trace(trace))
        except CapsimError as error:
            problems += [f"{line}; names in the cell tagged parameters" for line in error.problems]
    if problems:
        raise Missing(*problems)
    return found


class Missing(CapsimError):
    """Something that a notebook needs is not there; a notebook shows it as a few lines without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return ["This notebook cannot run yet:", *(f"- {line}" for line in self.problems)]
