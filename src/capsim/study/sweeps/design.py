"""Which points a sweep visits: lists, full grids, Latin hypercubes, Sobol sequences, and their products.

A design knows its size and makes any of its points on demand, so that a grid of 10^9 points costs nothing until it is
run. Points are numbered from 0; the first key varies slowest.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from capsim.base.errors import CapsimError

LARGEST_SAMPLE = 10_000_000  # points of a sample, which is made at once; a grid has no such limit
KINDS = ("lhs", "sobol")


class Design(Protocol):
    """What a sweep asks of a design."""

    @property
    def keys(self) -> tuple[str, ...]: ...
    @property
    def size(self) -> int: ...

    def point(self, number: int) -> tuple[Any, ...]:
        """The values of the keys at one point."""
        ...

    def describe(self) -> dict[str, Any]:
        """Plain data that two designs share only if all of their points are equal."""
        ...


@dataclass(frozen=True)
class Axis:
    """A key and the values that it takes."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """A key and the range that it is drawn from.

    Parameters
    ----------
    key : str
        As in the scenario file, or ``constants.NAME``.
    low, high : float
        In the unit of the key.
    log : bool
        Even on the logarithmic scale.
    whole : bool
        Only whole numbers, both ends included, each as likely as the next.

    Raises
    ------
    CapsimError
        If the range is empty, the wrong way round, not finite, or not positive on a logarithmic scale.
    """

    key: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise CapsimError(f"{self.key}: {self.low:g} to {self.high:g} is no range; give two finite numbers")
        if self.low >= self.high:
            way = "is the wrong way round" if self.low > self.high else "is one value"
            raise CapsimError(f"{self.key}: the range {self.low:g} to {self.high:g} {way}; give the smaller end first")
        if self.log and self.low <= 0:
            raise CapsimError(f"{self.key}: a logarithmic range cannot begin at {self.low:g}; begin above 0")
        if self.whole and (self.low % 1 or self.high % 1):
            raise CapsimError(f"{self.key} takes whole numbers; give whole ends, not {self.low:g} and {self.high:g}")

    def at(self, share: float) -> float | int:
        """The value at a share of the range, 0 to 1.

        Examples
        --------
        >>> Range("workload.rate_hz", 1, 100, log=True).at(0.5)
        10.0
        >>> [Range("server.pool.limit", 1, 3, whole=True).at(u) for u in (0.0, 0.5, 1.0)]
        [1, 2, 3]
        """
        pad = 0.5 if self.whole else 0.0
        low, high = self.low - pad, self.high + pad
        if self.log:
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            value = low + share * (high - low)
        if self.whole:
            return int(min(max(math.floor(value + 0.5), self.low), self.high))
        return float(f"{value:.9g}")  # what is published is what was run


@dataclass(frozen=True)
class Points:
    """Points one by one, in the order given."""

    keys: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @classmethod
    def of(cls, points: Sequence[Mapping[str, Any]]) -> Points:
        """Points from mappings, all with the same keys.

        Examples
        --------
        >>> Points.of([{"server.pool.limit": 5}, {"server.pool.limit": 10}]).size
        2
        """
        if not points:
            raise CapsimError("the list of points is empty; give at least one")
        keys = tuple(points[0])
        for number, point in enumerate(points):
            if set(point) != set(keys):
                raise CapsimError(f"point {number} has other keys than point 0; give every point the same keys")
        return cls(keys, tuple(tuple(point[key] for key in keys) for point in points))

    @property
    def size(self) -> int:
        return len(self.rows)

    def point(self, number: int) -> tuple[Any, ...]:
        """The values of the keys at one point."""
        return self.rows[number]

    def describe(self) -> dict[str, Any]:
        """Kind, keys and values."""
        return {"kind": "list", "keys": list(self.keys), "points": [list(row) for row in self.rows]}


@dataclass(frozen=True)
class Grid:
    """Every combination of the values of some keys.

    Examples
    --------
    >>> grid = Grid((Axis("a", (1, 2)), Axis("b", ("x", "y", "z"))))
    >>> grid.size, grid.point(0), grid.point(4)
    (6, (1, 'x'), (2, 'y'))
    """

    axes: tuple[Axis, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(axis.key for axis in self.axes)

    @property
    def size(self) -> int:
        return math.prod(len(axis.values) for axis in self.axes)

    def point(self, number: int) -> tuple[Any, ...]:
        """The values of the keys at one point."""
        found: list[Any] = []
        for axis in reversed(self.axes):
            number, place = divmod(number, len(axis.values))
            found.append(axis.values[place])
        return tuple(reversed(found))

    def describe(self) -> dict[str, Any]:
        """Kind, and the values of every key."""
        return {"kind": "grid", "axes": {axis.key: list(axis.values) for axis in self.axes}}


@dataclass(frozen=True)
class Sample:
    """A Latin hypercube or a scrambled Sobol sequence over ranges; needs the extra ``sweep``.

    Parameters
    ----------
    kind : {"lhs", "sobol"}
        A Sobol sequence is balanced when its size is a power of two.
    size : int
    ranges : tuple of Range
    seed : int
        The same seed gives the same points.

    References
    ----------
    M. D. McKay, R. J. Beckman, W. J. Conover, Technometrics 21(2), 1979. A. B. Owen, "Scrambling Sobol' and
    Niederreiter-Xing points", Journal of Complexity 14(4), 1998. Both by ``scipy.stats.qmc``.
    """

    kind: Literal["lhs", "sobol"]
    size: int
    ranges: tuple[Range, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise CapsimError(f"{self.kind}:{self.size}: a design needs at least one point")
        if not self.ranges:
            raise CapsimError(f"{self.kind}:{self.size}: there is nothing to draw; give at least one range")

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(span.key for span in self.ranges)

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """Where in their ranges the points lie, 0 to 1, shape (size, keys)."""
        if self.size > LARGEST_SAMPLE:
            raise CapsimError(
                f"{self.kind}:{self.size}: more than {LARGEST_SAMPLE:,} points cannot be drawn at once; ask for fewer"
            )
        qmc = _qmc()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # sizes that are no power of two; the page on sweeps says so
            if self.kind == "lhs":
                made = qmc.LatinHypercube(len(self.ranges), rng=self.seed).random(self.size)
            else:
                made = qmc.Sobol(len(self.ranges), scramble=True, rng=self.seed).random(self.size)
        return np.asarray(made, np.float64)

    def point(self, number: int) -> tuple[Any, ...]:
        """The values of the keys at one point."""
        return tuple(
            span.at(share) for span, share in zip(self.ranges, self.shares[number].tolist(), strict=True)
        )

    def describe(self) -> dict[str, Any]:
        """Kind, ranges, seed, and a hash of the draws themselves, which another SciPy might make differently."""
        drawn = hashlib.sha256(np.ascontiguousarray(self.shares.astype("<f8")).tobytes()).hexdigest()
        spans = {r.key: [r.low, r.high, "log" if r.log else "even"] for r in self.ranges}
        return {"kind": self.kind, "size": self.size, "ranges": spans, "seed": self.seed, "drawn": drawn}


@dataclass(frozen=True)
class Product:
    """Every point of one design with every point of another."""

    first: Design
    second: Design

    @property
    def keys(self) -> tuple[str, ...]:
        return self.first.keys + self.second.keys

    @property
    def size(self) -> int:
        return self.first.size * self.second.size

    def point(self, number: int) -> tuple[Any, ...]:
        """The values of the keys at one point."""
        left, right = divmod(number, self.second.size)
        return self.first.point(left) + self.second.point(right)

    def describe(self) -> dict[str, Any]:
        """Both factors."""
        return {"kind": "product", "of": [self.first.describe(), self.second.describe()]}


def _qmc() -> Any:
    try:
        from scipy.stats import qmc
    except ImportError as error:
        raise CapsimError("this design needs the extra 'sweep': pip install 'capsim[sweep]'") from error
    return qmc


def checked(design: Design) -> Design:
    """Refuse a design that names a key twice.

    Raises
    ------
    CapsimError
    """
    twice = [key for key, group in itertools.groupby(sorted(design.keys)) if len(list(group)) > 1]
    if twice:
        raise CapsimError(f"{twice[0]} is varied twice; name it once")
    return design
