"""What was asked, as a table: the paths of a log by share, what each is taken for and why, sizes and durations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from capsim.base.units import US_PER_MS
from capsim.scenario.request_kinds import KINDS
from capsim.workload.model import Ints
from capsim.workload.request_map import rows
from capsim.workload.requests import Requests

if TYPE_CHECKING:
    import pandas as pd


def asked(requests: Requests, table: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The paths of a log, the most asked first.

    Parameters
    ----------
    requests : Requests
        As `capsim.workload.read_requests` gives them.
    table : mapping, optional
        ``[workload.requests]`` of a scenario; without it, what is proposed.

    Returns
    -------
    DataFrame
        Columns ``method``, ``path``, ``requests``, ``share`` [1], ``refused`` (requests answered with 3xx or 4xx, which
        bring nothing), ``taken_for`` (event, revenue, heartbeat, read, other), ``why``, ``response_median_bytes`` and
        ``duration_median_ms``; NaN where the log does not say.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from capsim.workload import read_requests
    >>> line = '192.0.2.1 - - [02/Mar/2026:10:00:00 +0000] "POST /api/events?id=7 HTTP/1.1" 202 17\\n'
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "access.log"
    ...     _ = path.write_text(line)
    ...     asked(read_requests(path))[["method", "path", "taken_for"]].values.tolist()
    [['POST', '/api/events', 'event']]
    """
    import pandas as pd

    total = len(requests.route)
    order = np.argsort(requests.route, kind="stable")
    edges = requests.route[order].searchsorted(np.arange(len(requests.routes) + 1))
    places = {route: order[edges[n] : edges[n + 1]] for n, route in enumerate(requests.routes)}
    found = [
        (
            row.method, row.path, row.requests, row.requests / total, row.refused, KINDS[row.kind], row.why,
            _median(requests.response_bytes[places[row.method, row.path]]),
            _median(requests.duration_us[places[row.method, row.path]]) / US_PER_MS,
        )
        for row in rows(requests, table)
    ]  # fmt: skip
    names = ["method", "path", "requests", "share", "refused", "taken_for", "why"]
    return pd.DataFrame(found, columns=[*names, "response_median_bytes", "duration_median_ms"])


def _median(values: Ints) -> float:
    said = values[values >= 0]
    return float(np.median(said)) if len(said) else float("nan")
