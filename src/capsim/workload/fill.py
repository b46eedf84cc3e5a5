"""A scenario's load as a log has it: trace, map, mix, reads and their size, each with a remark where it is from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsim.base.errors import ScenarioError, TraceError
from capsim.base.files import write_text
from capsim.base.toml_text import text_of
from capsim.base.units import US_PER_MS, US_PER_S
from capsim.scenario.file import loads
from capsim.scenario.request_kinds import KINDS, OTHER, READ
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.workload.read import find_traces
from capsim.workload.request_map import mapped, refused, rows, table_of
from capsim.workload.requests import Requests

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

HEADER_BYTES = 250  # assumed: status line and headers, which %b and $body_bytes_sent leave out
FEWEST = 20  # of which a median is told
MOST_PATHS = 200  # in a map that is proposed
_SOURCES = ("rate_hz", "duration_s", "runs", "sessions")  # of loads that are no log


# A remark of `capsim inspect --write` above a table that the log fills.
_EXAMPLES = re.compile(r"^# .*of the example .*\n(?=\[workload(?:\.mix)?\])", re.MULTILINE)


def fill_file(
    into: Path, requests: Requests | None, files: Sequence[Path] | None
) -> tuple[Mapping[str, str] | None, list[Change]]:
    """Put a log into a scenario's file; the map that it had, and what was set.

    Raises
    ------
    TraceError
        If the load does not say what was asked, or is a part of its file.
    ScenarioError
        If there is no such scenario.
    """
    import tomlkit

    if files is None or requests is None:
        raise TraceError(
            "--into needs a log whose lines say method and path"
            if requests is None
            else "--into names the whole file as the load; leave --from and --to out, and give them to run"
        )
    remedy = f"make one first: capsim inspect FOLDER --write {into} --on DATE, or capsim scenario show after > {into}"
    missing = f"no such scenario; {remedy}"
    text = text_of(into, str(into), what="scenario", remedy=remedy, missing=missing, error=ScenarioError)
    table = loads(text, str(into)).workload.requests
    document = tomlkit.parse(_EXAMPLES.sub("", text))
    found = fill(document, requests, files, into.parent)
    write_text(into, tomlkit.dumps(document))
    return table, found


class Change(NamedTuple):
    """A key that the log sets."""

    key: str
    value: Any
    remark: str


def fill(document: TOMLDocument, requests: Requests, files: Sequence[str | Path], folder: str | Path) -> list[Change]:
    """Put a log into a scenario's document: everything that it says, and nothing else.

    Parameters
    ----------
    document : TOMLDocument
        A scenario that is valid; remarks and keys that the log does not speak of stay. If it has a
        ``[workload.requests]`` already, that map is kept and applied; otherwise the proposal is written.
    requests : Requests
        The log, as `capsim.workload.read_requests` gives it.
    files : sequence of path
        Its files.
    folder : path
        Where the scenario will be: the trace is named as seen from there.

    Returns
    -------
    list of Change
        What was set.

    Raises
    ------
    TraceError
        If no request of the log is an item or a read.
    ScenarioError
        If the document is no scenario.
    """
    import tomlkit

    scenario = loads(tomlkit.dumps(document))
    table = scenario.workload.requests
    proposal = rows(requests)
    found = changes(scenario, requests, table_of(proposal, MOST_PATHS) if table is None else table)
    workload = document["workload"]
    assert isinstance(workload, dict)
    for key in _SOURCES:
        workload.pop(key, None)
    remark = "the log" if len(files) == 1 else f"the {len(files)} files of the log"
    trace = Change("workload.trace", _from(folder, together(files)), f"{remark}, as seen from this file")
    for key, value, remark in (trace, *found):
        _put(document, key, value, remark)
    if table is None:
        _put_map(document, proposal)
    loads(tomlkit.dumps(document))
    return [trace, *found]


def changes(scenario: Scenario, requests: Requests, table: Mapping[str, str]) -> list[Change]:
    """What a log says of the keys of a scenario, under a map.

    Raises
    ------
    TraceError
        If no request of it is an item or a read.
    """
    trace = mapped(requests, table)
    assert trace.kinds is not None
    often = np.bincount(trace.kinds, minlength=len(KINDS)).tolist()
    items, reads = sum(often[:READ]), often[READ]
    if not items + reads:
        raise TraceError(
            f"{trace.name}: no request of it is an event, a revenue record, a heartbeat or a read; say in "
            'the scenario which are: [workload.requests] "POST /your/path" = "event"'
        )
    found = []
    if items:
        shares = [round(often[place] / items, 6) for place in range(READ)]
        largest = shares.index(max(shares))
        shares[largest] = round(1 - sum(shares[:largest] + shares[largest + 1 :]), 6)
        for place, stream in enumerate(STREAMS):
            remark = f"{often[place]:,} of {items:,} items of the log; a mean: a run has them when they came"
            found.append(Change(f"workload.mix.{stream}", shares[place], remark))
    covered_s = trace.covered_us / US_PER_S
    found.append(
        Change(
            "workload.queries_hz", _rounded(reads / covered_s),
            f"{reads:,} reads of the log in {covered_s / 3600:,.1f} h; a mean: a run has them when they came",
        )
    )  # fmt: skip
    return found + _of_reads(scenario, requests, table) + _of_answers(requests, table)


def _kinds(requests: Requests, table: Mapping[str, str]) -> NDArray[np.int8]:
    """What each request is, as in the file; those that were not answered with 2xx are -1."""
    by_route = {(row.method, row.path): row.kind for row in rows(requests, table)}
    kinds = np.array([by_route.get(route, -1) for route in requests.routes], np.int8)[requests.route]
    answered = (requests.status < 0) | ((requests.status >= 200) & (requests.status < 300))
    kinds[~answered | refused(requests)] = -1
    return kinds


def _of_reads(scenario: Scenario, requests: Requests, table: Mapping[str, str]) -> list[Change]:
    """Size and duration of the answers to reads."""
    spec, query = scenario.server.queries, scenario.database.query
    reads = _kinds(requests, table) == READ
    sizes = requests.response_bytes[reads & (requests.response_bytes > 0)]
    found = []
    rows_median = spec.rows_median
    if len(sizes) >= FEWEST:
        row_bytes = spec.row_json_bytes * (spec.compressed_share if spec.compression else 1.0)
        rows_median = _rounded(max(float(np.median(sizes)) / row_bytes, 1.0)) if row_bytes else rows_median
        how = f"{row_bytes:g} bytes a row{' compressed' if spec.compression else ''}, assumed"
        found = [
            Change("server.queries.rows_median", rows_median,
                   f"median answer of {np.median(sizes):,.0f} bytes in {len(sizes):,} reads of the log, {how}"),
            Change("server.queries.rows_sigma", min(_rounded(float(np.std(np.log(sizes)))), 5.0),
                   "spread of the answers' sizes in the log"),
            Change("server.queries.take_rows", "none", "the log has the sizes as they were sent"),
        ]  # fmt: skip
    took_us = requests.duration_us[reads & (requests.duration_us >= 0)]
    own_ms = spec.cpu_ms + rows_median * spec.row_cpu_ms
    model_ms = query.call_ms + rows_median * query.row_ms
    if len(took_us) >= FEWEST and model_ms:
        median_ms = float(np.median(took_us)) / US_PER_MS
        remark = f"median read of {median_ms:,.3g} ms in the log, network and waiting in it"
        if median_ms > own_ms:
            share = (median_ms - own_ms) / model_ms
            for key, value in (("call_ms", query.call_ms), ("row_ms", query.row_ms)):
                found.append(Change(f"database.query.{key}", _rounded(value * share), remark))
    return found


def _of_answers(requests: Requests, table: Mapping[str, str]) -> list[Change]:
    """Mean size of the answers to all that is no read."""
    kinds = _kinds(requests, table)
    sizes = requests.response_bytes[(kinds >= 0) & (kinds != READ) & (requests.response_bytes >= 0)]
    if len(sizes) < FEWEST:
        return []
    remark = f"mean body of {np.mean(sizes):,.0f} bytes in the log, and {HEADER_BYTES} of headers, assumed"
    return [Change("billing.response_bytes", _rounded(float(np.mean(sizes)) + HEADER_BYTES), remark)]


def _put(document: TOMLDocument, key: str, value: Any, remark: str) -> None:
    import tomlkit

    place: Any = document
    *tables, name = key.split(".")
    for table in tables:
        if table not in place:
            place[table] = tomlkit.table()
        place = place[table]
    if key.startswith("workload.mix."):
        place.trivia.comment_ws = place.trivia.comment = ""  # the remark of a mix that was assumed
    item = tomlkit.item(value)
    item.comment(remark)
    place[name] = item


def _put_map(document: TOMLDocument, proposal: Sequence[Any]) -> None:
    """The proposal as ``[workload.requests]``; what is in none of it is told in remarks."""
    import tomlkit

    total = sum(row.requests for row in proposal)
    table = tomlkit.table()
    table.add(tomlkit.comment("proposed from the log: change what is wrong, and run trace describe --into again"))
    named = [row for row in proposal if row.kind != OTHER]
    for row in named[:MOST_PATHS]:
        item = tomlkit.item(KINDS[row.kind])
        item.comment(f"{100 * row.requests / total:.2g} % of the requests: {row.why}")
        table.add(f"{row.method} {row.path}", item)
    if left := sum(row.requests for row in named[MOST_PATHS:]):
        share = f"{100 * left / total:.2g} %"
        table.add(tomlkit.comment(f"{len(named) - MOST_PATHS} more paths, {share} of the requests, are other so far"))
    for row in [row for row in proposal if not row.known][:FEWEST]:
        share = f"{100 * row.requests / total:.2g} %"
        table.add(tomlkit.comment(f'"{row.method} {row.path}" = "other"  # {share}: {row.why}'))
    table.add(tomlkit.nl())
    workload: Any = document["workload"]
    workload["requests"] = table


def together(files: Sequence[str | Path]) -> Path:
    """The name of a file, or the pattern that fits these files and no other.

    Raises
    ------
    TraceError
        If there is none.

    Examples
    --------
    >>> together(["logs/access.log"]).name
    'access.log'
    """
    paths = sorted({Path(file) for file in files})
    if len(paths) == 1:
        return paths[0]
    begin = os.path.commonprefix([path.name for path in paths])  # noqa: RUF071 - of names, letter by letter
    pattern = paths[0].parent / f"{begin}*"
    if not begin or len({path.parent for path in paths}) > 1 or sorted(find_traces(pattern)) != paths:
        raise TraceError(
            f"{paths[0]} and {len(paths) - 1} more: no pattern such as access.log* fits these files and no other, by "
            "which a scenario could name them; put them into a folder of their own"
        )
    return pattern


def _from(folder: str | Path, file: str | Path) -> str:
    """A file as seen from a folder; with a dot where it would be taken for the name of a bundled trace."""
    path = os.path.relpath(file, folder or ".")
    return path if PurePath(path).suffix or os.sep in path else os.path.join(".", path)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
