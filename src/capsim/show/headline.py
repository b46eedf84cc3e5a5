"""The answer in two sentences, made of the numbers of one result or of a comparison.

The first sentence is about memory and losses, the second about money. With several results they tell of the second
beside the first; what saves nothing is said to save nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from capsim.base.amounts import number, span
from capsim.base.units import GB, MIB
from capsim.results.document import Result
from capsim.results.month_usage import usage_until
from capsim.results.window_tables import Window
from capsim.scenario.prices import limits_on

FULL = 0.999  # of a volume
SAME = 0.005  # differences below this share are no differences: the models are coarser
TESTS = (("stall", "If Postgres hangs"), ("outage", "If Postgres fails"), ("deploys", "In deploys"))


class Loss(NamedTuple):
    """When something is lost, and how much: two parts of a sentence."""

    when: str
    items: str


def question(results: Sequence[Result]) -> str:
    """What the results answer, as the title of a report."""
    first, *others = (named(result) for result in results)
    if not others:
        return f"How much memory does {first} need, what does it lose, and what does it cost?"
    verb = "do" if len(others) > 1 else "does"
    return f"What {verb} {listed(others)} change in memory, losses and the bill, compared with {first}?"


def answer(results: Sequence[Result]) -> tuple[str, str]:
    """Two sentences: memory and losses, then money.

    Parameters
    ----------
    results : sequence of Result
        One or more; of several, the second is told beside the first.

    Returns
    -------
    tuple of str
        Every number in them is in the results, rounded.
    """
    if len(results) == 1:
        return _alone(results[0]), _money(results[0])
    return _beside(results[0], results[1]), _money_beside(results[0], results[1])


def listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def named(result: Result) -> str:
    """The name of a result as it stands in a sentence: many scenarios are called by everyday words."""
    return f"“{result.name}”"


def metric(result: Result, name: str, window: Window = "trace") -> float | None:
    """A figure of the summary; None if the result does not have it."""
    return next((m.value for m in result.summary.get(window, ()) if m.metric == name), None)


def stressed(result: Result, test: str, name: str) -> float | None:
    """A figure of a stress test; None if the result does not have it."""
    return next((m.value for m in result.stress if m.test == test and m.metric == name), None)


def bill_window(results: Sequence[Result]) -> Window:
    """The window whose bill is told: the month, if every result has one."""
    return "month" if all("month" in result.bill for result in results) else "trace"


def total(result: Result, window: Window) -> tuple[float, float, float] | None:
    """What is to be paid, with the lower and the upper bracket [USD]."""
    for line in result.bill.get(window, ()):
        if line.line == "total" and line.amount_usd is not None:
            lower = line.amount_usd if line.lower_usd is None else line.lower_usd
            upper = line.amount_usd if line.upper_usd is None else line.upper_usd
            return line.amount_usd, lower, upper
    return None


# --- sentences ---------------------------------------------------------------------------------------------


def _alone(result: Result) -> str:
    load = (result.provenance.get("load") or {}).get("name", "its load")
    mean, peak = metric(result, "server_rss_mean"), metric(result, "server_rss_peak")
    head = (
        f"Under {load} ({span(result.trace_span_s)}), the server of {named(result)} holds {number(mean, 'MiB')} MiB of "
        f"memory on average and {number(peak, 'MiB')} MiB at most{_spread(result)}."
    )
    return " ".join([head, *(f"{loss.when} it loses {loss.items}." for loss in _losses(result).values())])


def _spread(result: Result) -> str:
    """How far the peak lies from run to run, where that decides."""
    ends = [metric(result, f"server_rss_peak_{end}") for end in ("lowest", "highest")]
    if None in ends:
        return ""
    return f" (from run to run {number(ends[0], 'MiB')} to {number(ends[1], 'MiB')} MiB, by which reads meet)"


def _beside(first: Result, second: Result) -> str:
    before, after = _losses(first), _losses(second)
    told = [f"{_memory(first, second)}."]
    for name, loss in after.items():
        other = before.get(name)
        beside = (
            ""
            if other is None
            else f", as does {named(first)}"
            if other == loss
            else f" ({named(first)}: {other.items})"
        )
        told.append(f"{loss.when} it loses {loss.items}{beside}.")
    return " ".join(told)


def _memory(first: Result, second: Result) -> str:
    old, new = metric(first, "server_rss_mean"), metric(second, "server_rss_mean")
    if not old or new is None:
        return f"The memory of {named(second)} cannot be compared with that of {named(first)}"
    if abs(new / old - 1) < SAME:
        alike = f"the server holds {number(new, 'MiB')} MiB on average, as in {named(first)}"
        return f"{named(second)} saves no memory: {alike}"
    return (
        f"{named(second)} {'lowers' if new < old else 'raises'} the server's memory from {number(old, 'MiB')} to "
        f"{number(new, 'MiB')} MiB on average ({100 * (new / old - 1):+.0f} %)"
    )


def _losses(result: Result) -> dict[str, Loss]:
    """What is lost under the load, and in each stress test in which anything is lost."""
    found = {}
    lost, offered = metric(result, "items_lost"), metric(result, "items_offered")
    if lost is not None:
        of = "" if offered is None else f" of {number(offered, 'items')}"
        found["load"] = Loss("Under the load", f"{number(lost, 'items')}{of} items")
    for test, phrase in TESTS:
        gone = stressed(result, test, "items_lost")
        if gone is not None and (gone or test != "deploys"):
            length, rate = stressed(result, test, "length"), stressed(result, test, "request_rate")
            factor = stressed(result, test, "load_factor")
            times = "" if factor is None or factor == 1 else f"{number(factor, '1')} times "
            at = "" if rate is None else f" at {times}the busiest minute ({number(rate, '1/s')} requests/s)"
            found[test] = Loss(
                f"{phrase} for {number(length, 's')} s{at},", f"{number(gone, 'items')} items{_stuck(result, test)}"
            )
    return found


def _money(result: Result) -> str:
    window = bill_window([result])
    paid = total(result, window)
    if paid is None:
        return "There is no bill in this result."
    _, lower, upper = paid
    bracket = (
        "" if lower == upper else f" (from {_usd(lower)} with the least page cache to {_usd(upper)} with the most)"
    )
    head = f"{_period(result, window)} costs {_usd(paid[0])}{_volume_full(result, window)}{bracket}."
    return f"{head}{_from_then_on(result, window)}{_largest(result, window)}"


def _money_beside(first: Result, second: Result) -> str:
    window = bill_window([first, second])
    old, new = total(first, window), total(second, window)
    if old is None or new is None:
        return "The bills cannot be compared: one of them is missing."
    change = new[0] - old[0]
    period = _period(second, window)
    if abs(change) <= SAME * old[0]:
        head = f"It saves no money: {period[0].lower()}{period[1:]} costs {_usd(new[0])}, as in {named(first)}"
    else:
        less = "less" if change < 0 else "more"
        head = f"{period} costs {_usd(new[0])} instead of {_usd(old[0])}, {_usd(abs(change))} {less}"
    least, most = (
        _usd(n) + ("" if n == o else f" instead of {_usd(o)}") for n, o in zip(new[1:], old[1:], strict=True)
    )
    bracket = (
        "" if new[1] == new[2] and old[1] == old[2] else f" (with the least page cache {least}, with the most {most})"
    )
    head = f"{head}{_volume_full(second, window) or _volume_full(first, window)}{bracket}."
    both = _while_both_run(first, second, window)
    return f"{head}{_from_then_on(second, window)}{both}{_largest(second, window)}"


# --- words -------------------------------------------------------------------------------------------------


def _usd(value: float) -> str:
    return f"{number(value, 'USD')} USD"


def _stuck(result: Result, test: str) -> str:
    """What does not heal."""
    writers, items = stressed(result, test, "writers_stuck"), stressed(result, test, "items_stuck")
    rate = stressed(result, test, "loss_rate_until_restart")
    if rate:
        who = f"{number(writers, 'count')} writer{'s' * (writers != 1)}" if writers else "the writers"
        # Which part of the replicates it happened in would be a mean of writers: only the rate is told.
        some = who if not writers or float(writers).is_integer() else "some writers"
        return (
            f" by its end; then {some} never recover{'s' * (writers == 1)} and lose{'s' * (writers == 1)} "
            f"{number(rate, '1/s')} items/s until a restart"
        )
    if not writers:
        return ""
    plural = "s" if writers != 1 else ""
    return f" and leaves {number(items, 'items')} stuck in {number(writers, 'count')} writer{plural} until a restart"


def _period(result: Result, window: Window) -> str:
    return "A month of this load" if window == "month" else f"The load of {span(result.trace_span_s)}"


def _largest(result: Result, window: Window) -> str:
    """The line that decides the bill, if one does."""
    usage = [line for line in result.bill.get(window, ()) if line.service != "workspace" and line.amount_usd]
    if not usage:
        return ""
    most = max(usage, key=lambda line: line.amount_usd or 0)
    share = (most.amount_usd or 0) / sum(line.amount_usd or 0 for line in usage)
    what = {"memory": "memory", "cpu": "CPU"}.get(most.line, most.line)
    who = {"postgres": "Postgres", "redis": "Redis"}.get(most.service, f"the {most.service}")
    return f" {100 * share:.0f} % of the usage is the {what} of {who}."


def _volume_full(result: Result, window: Window) -> str:
    """What a bill hides that is low because nothing more could be stored."""
    scenario = result.provenance.get("scenario") or {}
    own, billing = scenario.get("database", {}).get("volume_gb"), scenario.get("billing", {})
    used_mib = metric(result, "postgres_volume_end", window)
    limits = limits_on(billing["plan"], dt.date.fromisoformat(billing["from"])) if "plan" in billing else None
    limit_gb = float(own) if isinstance(own, (int, float)) else float(limits.volume_gb) if limits else None
    if used_mib is None or limit_gb is None or used_mib * MIB < FULL * limit_gb * GB:
        return ""
    day = metric(result, "volume_full_after", window)
    when = "before its end" if day is None else f"on day {day:.1f}"
    return f", but only because the volume of {limit_gb:g} GB is full {when} and writes stop"


def _from_then_on(result: Result, window: Window) -> str:
    """What is lost once the volume is full; a sentence of its own."""
    day, lost = metric(result, "volume_full_after", window), metric(result, "items_lost", window)
    offered = metric(result, "items_offered", window)
    if day is None or not lost or not offered:
        return ""
    return (
        f" From then on every write fails: of the month's {number(offered, 'items')} items {number(lost, 'items')} are "
        "lost, unless the volume is made larger."
    )


def _while_both_run(first: Result, second: Result, window: Window) -> str:
    """The bills of the days in which both still write: only those can be compared."""
    full = [(day, r) for r in (first, second) if (day := metric(r, "volume_full_after", window)) is not None]
    if not full or window != "month":
        return ""
    day = min(day for day, _ in full)
    old, new = (usage_until(result, day) for result in (first, second))
    if old is None or new is None:
        return ""
    return f" Up to that day, while both write, {named(second)} uses {_usd(new)} and {named(first)} {_usd(old)}."
