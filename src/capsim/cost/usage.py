"""What each service used over a stretch of time: samples -> the quantities that a bill prices.

The same quantities can be filled in by hand from a provider's usage export, and are then priced the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from capsim.base.errors import CapsimError
from capsim.base.units import GB, MIB
from capsim.scenario.columns import MEMORY, SAMPLES
from capsim.scenario.prices import Meter
from capsim.scenario.scenario import Scenario

if TYPE_CHECKING:  # pandas takes longer to import than the command line may
    import numpy as np
    import pandas as pd

Basis = Literal["modelled", "assumed", "not modelled"]
Number = int | float | Decimal | Fraction


@dataclass(frozen=True)
class Quantity:
    """How much of one meter was used, with the bracket of what is uncertain about it.

    Examples
    --------
    >>> Quantity(100, lower=80, upper=150).bracket
    (Fraction(100, 1), Fraction(80, 1), Fraction(150, 1))
    """

    expected: Number
    lower: Number | None = None
    upper: Number | None = None
    basis: Basis = "modelled"
    source: str = ""

    def __post_init__(self) -> None:
        for value in (self.expected, self.lower, self.upper):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise CapsimError(f"a quantity on a bill is {value}; it must be a number of 0 or more")

    @property
    def bracket(self) -> tuple[Fraction, Fraction, Fraction]:
        """Expected, lower and upper, exactly; a bound that was not given is the expected value."""
        expected = Fraction(self.expected)
        lower, upper = (expected if v is None else Fraction(v) for v in (self.lower, self.upper))
        return expected, lower, upper


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What one service used in a billing cycle; None where that is not known, which the bill then says.

    The units are those that Railway's usage export gives. Backups count only what changed since the last one.
    """

    service: str
    memory_gb_minutes: Quantity | None = None
    cpu_vcpu_minutes: Quantity | None = None
    egress_gb: Quantity | None = None
    volume_gb_minutes: Quantity | None = None
    backup_gb_minutes: Quantity | None = None

    def meters(self) -> dict[Meter, Quantity | None]:
        """The quantities in the order of a bill's lines."""
        return {
            "memory": self.memory_gb_minutes,
            "cpu": self.cpu_vcpu_minutes,
            "egress": self.egress_gb,
            "volume": self.volume_gb_minutes,
            "backups": self.backup_gb_minutes,
        }


@dataclass(frozen=True)
class Window:
    """The part of the samples that is priced: the bins with data, each with the minutes of it that count."""

    bins: pd.DataFrame
    minutes: np.ndarray  # of each bin [min]
    span_minutes: float  # from start to end, without data or not
    asked_minutes: float

    @classmethod
    def of(cls, samples: pd.DataFrame, minutes: float | None = None) -> Window:
        """The first ``minutes`` of the samples [min], or all of them.

        Raises
        ------
        CapsimError
            If columns are missing, ``minutes`` is impossible, or no bin has data.
        """
        wanted = {c.name for c in (*SAMPLES[:4], *MEMORY)}
        if missing := sorted(wanted - set(samples.columns)):
            raise CapsimError(
                f"samples: columns {', '.join(missing)} are missing; "
                "a bill needs the samples of a run with the memory columns of capsim.memory.resident"
            )
        if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
            raise CapsimError(f"bill: minutes is {minutes}; give more than 0, a month is 43200")
        start_s = samples["time_s"].to_numpy(dtype="float64")
        width_s = samples["width_s"].to_numpy(dtype="float64")
        end_s = start_s[0] + minutes * 60 if minutes is not None and len(start_s) else math.inf
        inside_s = (end_s - start_s).clip(0.0, width_s)
        has_data = samples["has_load"].to_numpy(dtype="bool") & (inside_s > 0)
        if not has_data.any():
            raise CapsimError("samples: no bin with data in the time priced; give a trace that has some")
        span_minutes = math.fsum(inside_s.tolist()) / 60
        return cls(
            bins=samples[has_data],
            minutes=inside_s[has_data] / 60,
            span_minutes=span_minutes,
            asked_minutes=span_minutes if minutes is None else minutes,
        )

    @property
    def priced_minutes(self) -> float:
        """Minutes with data [min]."""
        return math.fsum(self.minutes.tolist())

    @property
    def note(self) -> str:
        """How much time is priced, and what of the time asked for is not."""
        parts = [f"{self.priced_minutes:,.6g} min priced"]
        if (left_out := 1 - self.priced_minutes / self.span_minutes) > 0:
            parts.append(f"{left_out:.1%} of the time has no data and is left out")
        if self.span_minutes < self.asked_minutes * (1 - 1e-9):
            parts.append(f"the samples end before the {self.asked_minutes:,.6g} min asked for")
        return "; ".join(parts)

    def column(self, name: str) -> np.ndarray:
        """The values of a column in the bins with data, checked."""
        values = self.bins[name].to_numpy(dtype="float64")
        # A NaN fails this comparison too.
        if len(wrong := (~(values >= 0)).nonzero()[0]):
            raise CapsimError(
                f"samples: {name} is {values[wrong[0]]:g} at time_s {self.bins['time_s'].iloc[wrong[0]]:g}; "
                "it must be a number of 0 or more"
            )
        return values

    def integral(self, name: str) -> float:
        """Value x minutes, added up exactly: the same on every machine."""
        return math.fsum((self.column(name) * self.minutes).tolist())

    def total(self, name: str) -> float:
        """A count, with its share of a bin that the window cuts."""
        share = self.minutes * 60 / self.bins["width_s"].to_numpy(dtype="float64")
        return math.fsum((self.column(name) * share).tolist())


def service_usage(service: str, window: Window, scenario: Scenario) -> Usage:
    """The quantities of one of `SERVICES` over a window, each with its basis.

    Page cache is the bracket of the memory. What the model does not know (the volume of Redis, backups unless the
    scenario says how long they are kept) stays None, and the bill says "not modelled".
    """
    gb_bytes = scenario.billing.gb_bytes
    gb_text = f"1 GB = {'10^9' if gb_bytes == GB else '2^30'} bytes (assumed)"

    def gb_minutes(column: str) -> Fraction:
        return Fraction(window.integral(column)) * MIB / gb_bytes

    none_attached = Quantity(0, basis="assumed", source="no volume is attached to the server")
    return Usage(
        service=service,
        memory_gb_minutes=Quantity(
            gb_minutes(f"{service}_billed_mib"),
            lower=gb_minutes(f"{service}_billed_lower_mib"),
            upper=gb_minutes(f"{service}_billed_upper_mib"),
            source=f"billed memory, page cache included, {gb_text}",
        ),
        cpu_vcpu_minutes=Quantity(window.integral(f"{service}_cpu_vcpu"), source="CPU used"),
        egress_gb=_egress(service, window, scenario, gb_text),
        volume_gb_minutes={
            "server": none_attached,
            "postgres": Quantity(gb_minutes("postgres_volume_mib"), source=f"bytes used, {gb_text}"),
        }.get(service),
        backup_gb_minutes={"server": none_attached, "postgres": _backups(window, scenario)}.get(service),
    )


def _backups(window: Window, scenario: Scenario) -> Quantity | None:
    """Backups of the volume of Postgres: charged is what changed, as long as it is kept (facts: railway §1.2).

    Which blocks that is has not been measured. Files of a database that is only added to change by what they grow,
    which is taken; at least nothing (what was free when a backup was made need not be kept), at most the volume once.
    """
    import numpy as np

    days = scenario.database.backups_kept_days
    if days == "none":
        return None
    volume_mib = window.column("postgres_volume_mib")
    start_s = window.bins["time_s"].to_numpy(dtype="float64")
    grown_mib = np.maximum(volume_mib - np.interp(start_s - days * 86_400, start_s, volume_mib), 0)

    def gb_minutes(values_mib: np.ndarray) -> Fraction:
        return Fraction(math.fsum((values_mib * window.minutes).tolist())) * MIB / scenario.billing.gb_bytes

    return Quantity(
        gb_minutes(grown_mib),
        lower=0,
        upper=gb_minutes(volume_mib),
        basis="assumed",
        source=f"what the volume grew by in the last {days:g} days, for which its backups are kept",
    )


def _egress(service: str, window: Window, scenario: Scenario, gb_text: str) -> Quantity:
    if service != "server":
        return Quantity(0, basis="assumed", source="reached over the private network, which is free")
    each = scenario.billing.response_bytes
    return Quantity(
        (Fraction(window.total("requests")) * Fraction(each) + Fraction(window.total("response_bytes")))
        / scenario.billing.gb_bytes,
        basis="assumed",
        source=f"requests x {each:g} bytes of response, and the results of reads, {gb_text}",
    )
