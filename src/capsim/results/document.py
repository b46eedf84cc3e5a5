"""The result document: what a run says, as plain data that can be kept, compared and read by other programs.

`result_of` makes it from runs, `dumps` writes it as JSON, `load_document` reads it back; reports and
comparisons work on it alone, so a saved result is as good as a fresh one. The same run gives the same bytes:
rows keep their order, numbers are rounded to 9 significant digits, and there are no times of day, hosts or
folders.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeAlias

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from capsim.base.display import HasCard, HasPlots
from capsim.base.document import Number, Row, published
from capsim.base.errors import CapsimError
from capsim.base.units import BILLED_MONTH_MINUTES
from capsim.results.metrics import UNITS
from capsim.results.replicates import combine
from capsim.results.series import series_of
from capsim.results.window_tables import Window

if TYPE_CHECKING:
    import pandas as pd


SCHEMA_VERSION: Literal[1] = 1
REMEDY = "give a result.json that capsim wrote"

_MONTH_S = BILLED_MONTH_MINUTES * 60


def _known(unit: str) -> str:
    if unit not in UNITS:
        raise ValueError(f"{unit!r} is not a unit of a result; known are {', '.join(sorted(UNITS - {''}))}")
    return unit


Unit = Annotated[str, AfterValidator(_known)]


class RunLike(Protocol):
    """What `result_of` reads of a run."""

    @property
    def scenario(self) -> Any: ...
    @property
    def samples(self) -> pd.DataFrame: ...
    @property
    def trace_span_s(self) -> float: ...
    @property
    def stress(self) -> pd.DataFrame: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
    @property
    def provenance(self) -> Mapping[str, Any]: ...

    def accounting(self) -> pd.DataFrame: ...
    def summary(self, window: Window) -> pd.DataFrame: ...
    def bill(self, window: Window) -> pd.DataFrame: ...


class Metric(Row):
    """One predicted figure."""

    metric: str
    value: Number
    unit: Unit
    basis: str = Field(description="what the figure rests on")
    half_width: Number = Field(None, description="of the 95 % interval over replicates, in `unit`")


class BillLine(Row):
    """One line of the bill: quantity x unit price."""

    service: str
    line: str
    quantity: Number
    unit: Unit
    price_usd: Number
    amount_usd: Number
    lower_usd: Number = Field(description="amount with the lower bracket of the page cache")
    upper_usd: Number = Field(description="amount with the upper bracket of the page cache")
    basis: str = Field(description="modelled, assumed or not modelled")
    source: str
    half_width: Number = Field(None, description="of the 95 % interval of amount_usd over replicates, in USD")


class Account(Row):
    """What became of every item that one writer was offered, in items: `arrived` is the sum of the others."""

    writer: str
    arrived: Number
    written: Number
    coalesced: Number = Field(description="replaced by a later heartbeat of its session before it was written")
    in_loop: Number = Field(description="in a request that was not served before the end")
    buffered: Number
    in_flight: Number
    dropped_cap: Number
    dropped_failed: Number
    uncounted: Number = Field(description="lost in no counter of the server")
    lost_exit: Number = Field(description="held by a process when it ended")
    refused_down: Number = Field(description="came while no process was healthy")
    rejected: Number
    half_width: Number = Field(None, description="of the 95 % interval of `written` over replicates")


class StressMetric(Row):
    """One figure of a stress test."""

    test: str
    metric: str
    value: Number
    unit: Unit
    half_width: Number = Field(None, description="of the 95 % interval over replicates, in `unit`")


class Series(Row):
    """One quantity over time, a mean and a maximum for every step; null where there is nothing to average."""

    series: str
    unit: Unit
    mean: tuple[Number, ...]
    max: tuple[Number, ...]


class SeriesWindow(Row):
    """The quantities over time of one window; of the first replicate."""

    step_s: float = Field(gt=0)
    series: tuple[Series, ...]


class Result(HasCard, HasPlots, Row):
    """One scenario's prediction.

    The windows of summary, bill and series are ``trace`` (the load once, as given) and ``month`` (43,200
    minutes, over which the load is repeated).
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["run"] = "run"
    capsim_version: str
    name: str
    title: str
    trace_span_s: float
    replicates: int = Field(ge=1)
    provenance: dict[str, Any]
    summary: dict[Window, tuple[Metric, ...]]
    accounting: tuple[Account, ...]
    stress: tuple[StressMetric, ...]
    bill: dict[Window, tuple[BillLine, ...]]
    warnings: tuple[str, ...]
    series: dict[Window, SeriesWindow]

    def table(self, section: str, window: Window | None = None) -> pd.DataFrame:
        """One part of the document as a DataFrame, one row per entry.

        Parameters
        ----------
        section : {"summary", "bill", "accounting", "stress"}
            Which part.
        window : {"trace", "month"}, optional
            For summary and bill.
        """
        import pandas as pd

        part = getattr(self, section)
        rows: Sequence[Row] = part if window is None else part[window]
        fields = _ROWS[section].model_fields
        return pd.DataFrame([row.model_dump() for row in rows], columns=list(fields))

    def to_frame(self, window: Window = "trace") -> pd.DataFrame:
        """The figures of a window, indexed by ``metric``: ``value``, ``unit``, ``basis``, ``half_width``."""
        return self.table("summary", window).set_index("metric")

    def __repr__(self) -> str:
        return f"<Result {self.name}: load of {self.trace_span_s:g} s, replicates {self.replicates}>"


class Difference(Row):
    """One figure of every result, and how it differs from that of the first."""

    section: str
    window: Window | None
    figure: str
    unit: Unit
    values: tuple[Number, ...]
    difference: tuple[Number, ...] = Field(description="value minus the first result's, in `unit`")
    ratio: tuple[Number, ...] = Field(description="value over the first result's; null where that is 0")


class Comparison(HasCard, HasPlots, Row):
    """Several results side by side; the first is the one that the others are measured against."""

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["comparison"] = "comparison"
    capsim_version: str
    results: tuple[Result, ...] = Field(min_length=2)
    differences: tuple[Difference, ...]

    def to_frame(self) -> pd.DataFrame:
        """Every figure of every side.

        Returns
        -------
        DataFrame
            Indexed by ``section``, ``window``, ``figure`` and ``unit``; a column a side, in that unit.
        """
        import pandas as pd

        index = ["section", "window", "figure", "unit"]
        names = [result.name for result in self.results]
        rows = [(*(getattr(d, part) for part in index), *d.values) for d in self.differences]
        return pd.DataFrame(rows, columns=[*index, *names]).set_index(index)

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(result.name for result in self.results)}>"


Document: TypeAlias = Result | Comparison
_ROWS: dict[str, type[Row]] = {
    "summary": Metric, "bill": BillLine, "accounting": Account, "stress": StressMetric,
}  # fmt: skip
# What names a row of each section, and the column whose interval is given.
_IDENTITY: dict[str, tuple[list[str], str]] = {
    "summary": (["metric", "unit"], "value"),
    "bill": (["service", "line", "unit"], "amount_usd"),
    "accounting": (["writer"], "written"),
    "stress": (["test", "metric", "unit"], "value"),
}
_DOCUMENT: TypeAdapter[Document] = TypeAdapter(Annotated[Document, Field(discriminator="kind")])


def result_of(runs: Iterable[RunLike]) -> Result:
    """The document of one scenario from its runs, one per replicate.

    Parameters
    ----------
    runs : iterable of Run
        Replicates of one scenario and load, taken one at a time; numbers are their means.

    Returns
    -------
    Result
        With 95 % intervals if there are two runs or more.

    Raises
    ------
    ValueError
        Without a run.
    """
    head: dict[str, Any] = {}
    tables: dict[tuple[str, Window | None], list[pd.DataFrame]] = {}
    warnings: dict[str, None] = {}  # in order, each once
    replicates = 0
    for run in runs:
        spans: dict[Window, float] = {"trace": run.trace_span_s}
        if float(run.samples["time_s"].iloc[-1] + run.samples["width_s"].iloc[-1]) >= _MONTH_S:
            spans["month"] = _MONTH_S
        if not head:
            head = {
                "name": run.scenario.name,
                "title": run.scenario.title,
                "trace_span_s": run.trace_span_s,
                "provenance": _of_all_replicates(run.provenance),
                "series": {window: series_of(run.samples, span_s) for window, span_s in spans.items()},
            }
        for section, window, table in _tables(run, spans):
            tables.setdefault((section, window), []).append(table)
        warnings.update(dict.fromkeys(run.warnings))
        replicates += 1
    if not replicates:
        raise ValueError("no runs; give at least one")

    sections: dict[str, Any] = {"summary": {}, "bill": {}}
    for (section, window), parts in tables.items():
        rows = combine(parts, *_IDENTITY[section]).to_dict("records")
        if window is None:
            sections[section] = rows
        else:
            sections[section][window] = rows
    head["provenance"]["replicates"] = replicates
    return Result.model_validate({
        "capsim_version": version("capsim"),
        **published(head | sections),
        "replicates": replicates,
        "warnings": tuple(warnings),
    })  # fmt: skip


def _of_all_replicates(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """A certificate without what names one replicate; the seed is told once, for the load too."""
    load = {k: v for k, v in provenance["load"].items() if k not in ("seed", "replicate")}
    return {k: v for k, v in provenance.items() if k != "replicate"} | {"load": load}


def _tables(run: RunLike, windows: Iterable[Window]) -> Iterator[tuple[str, Window | None, pd.DataFrame]]:
    for window in windows:
        yield "summary", window, run.summary(window)
        yield "bill", window, run.bill(window)
    yield "accounting", None, run.accounting()
    yield "stress", None, run.stress


def load_document(path: str | Path) -> Document:
    """Read a saved result or comparison.

    Raises
    ------
    CapsimError
        If the file is absent, is no JSON, or is no document of this schema version.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise CapsimError(f"{path}: cannot be read ({reason}); {REMEDY}") from error
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CapsimError(f"{path}: is not JSON ({error}); {REMEDY}") from error
    found = data.get("schema_version") if isinstance(data, dict) else None
    if found != SCHEMA_VERSION:
        what = "has no schema_version" if found is None else f"schema_version is {found!r}"
        raise CapsimError(f"{path}: {what}; this capsim reads {SCHEMA_VERSION}: run the scenario again")
    try:
        return _DOCUMENT.validate_python(data)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"][1:]) or "kind"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise CapsimError(f"{path}: {place}: {problem['msg']}{more}; {REMEDY}") from error


def load_results(path: str | Path) -> tuple[Result, ...]:
    """The results in a saved document: one, or all sides of a comparison."""
    return results_of(load_document(path))


def results_of(document: Document) -> tuple[Result, ...]:
    """The results in a document: one, or all sides of a comparison."""
    return (document,) if isinstance(document, Result) else document.results


def schema() -> dict[str, Any]:
    """JSON Schema of the documents that `dumps` writes."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "capsim result document",
        **_DOCUMENT.json_schema(mode="serialization"),
    }


def schema_text() -> str:
    """`schema` as the text of data/schema/result.schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
