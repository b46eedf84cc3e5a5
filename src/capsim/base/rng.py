"""Chance has an address: every draw is named, none depends on the order of calls.

A draw belongs to (seed, replicate, stream name, block number). Two scenarios of one replicate therefore see the same
arrivals and the same database, even after their flushes differ (common random numbers), and no stream disturbs another.
The generator is Philox, counter-based: J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

TABLE_ITEMS = 8_192  # draws made at once by `Table`
KEPT_BLOCKS = 16  # of a `Table`: look-ahead asks for the same stretch two or three times


@lru_cache(maxsize=256)
def _key(seed: int, replicate: int, stream: str) -> tuple[int, int]:
    """128 bits, the lower half first."""
    text = f"{seed}/{replicate}/{stream}".encode()
    digest = hashlib.blake2b(text, digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def generator(seed: int, replicate: int, stream: str, block: int = 0) -> np.random.Generator:
    """The generator at one address; asking twice gives the same draws twice.

    Parameters
    ----------
    seed, replicate : int
        The run's seed and the number of the replicate, from 0.
    stream : str
        Name of the source of chance, for example ``"arrivals"``.
    block : int
        Which stretch of the stream: of time, or of items. At most 2^64 draws fit in one.

    Examples
    --------
    >>> generator(7, 0, "arrivals", 3).random() == generator(7, 0, "arrivals", 3).random()
    True
    """
    key, counter = np.array(_key(seed, replicate, stream), np.uint64), np.array((0, 0, block, 0), np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


class Table:
    """Draws addressed by item number, made in blocks of `TABLE_ITEMS`, of which the last ones made are kept.

    Parameters
    ----------
    seed, replicate, stream
        As for `generator`.
    kind : {"uniform", "normal", "exponential"}
        Standard distribution of the draws.

    Examples
    --------
    >>> table = Table(7, 0, "database", "normal")
    >>> table[5_000] == Table(7, 0, "database", "normal")[5_000]
    True
    """

    def __init__(self, seed: int, replicate: int, stream: str, kind: str) -> None:
        self._bits = np.random.Philox(key=np.array(_key(seed, replicate, stream), np.uint64))
        self._begin: Any = self._bits.state
        self._rng = np.random.Generator(self._bits)
        self._kind = kind
        self._kept: dict[int, NDArray[np.float64]] = {}
        self._block = -1
        self._values = np.empty(0)

    def block(self, number: int) -> NDArray[np.float64]:
        """The draws of items ``number * TABLE_ITEMS`` and following, shape (TABLE_ITEMS,)."""
        # What `generator` would say at this address, in a fortieth of the time that it takes to set one up.
        self._begin["state"]["counter"] = np.array((0, 0, number, 0), np.uint64)
        self._bits.state = self._begin
        rng = self._rng
        if self._kind == "uniform":
            return rng.random(TABLE_ITEMS)
        if self._kind == "normal":
            return rng.standard_normal(TABLE_ITEMS)
        if self._kind == "exponential":
            return rng.standard_exponential(TABLE_ITEMS)
        raise ValueError(f"unknown kind of draw {self._kind!r}; use uniform, normal or exponential")

    def __getitem__(self, item: int) -> float:
        number, place = divmod(item, TABLE_ITEMS)
        if number != self._block:
            self._turn_to(number)
        return float(self._values[place])

    def _turn_to(self, number: int) -> None:
        kept = self._kept
        if number not in kept:
            if len(kept) == KEPT_BLOCKS:
                del kept[next(iter(kept))]
            kept[number] = self.block(number)
        self._block, self._values = number, kept[number]

    def many(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """The draws of several items, ascending and each once, shape as ``items``."""
        count = len(items)
        values = np.empty(count)
        in_a_row = count > 0 and int(items[-1] - items[0]) == count - 1
        start = 0
        while start < count:
            number, place = divmod(int(items[start]), TABLE_ITEMS)
            if number != self._block:
                self._turn_to(number)
            if in_a_row:
                stop = min(count, start + TABLE_ITEMS - place)
                values[start:stop] = self._values[place : place + stop - start]
            else:
                stop = int(items.searchsorted((number + 1) * TABLE_ITEMS))
                values[start:stop] = self._values[items[start:stop] - number * TABLE_ITEMS]
            start = stop
        return values


class Scattered:
    """Draws addressed by item number, each computed from its address alone: for a few items far apart.

    SplitMix64 over the item number: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014. Normal variables by G. E. P. Box, M. E. Muller, Ann. Math. Stat. 29, 1958.

    Examples
    --------
    >>> draws = Scattered(7, 0, "database")
    >>> two = draws.normal(np.array([5, 10**12]))
    >>> bool(two[1] == draws.normal(np.array([10**12]))[0])
    True
    """

    def __init__(self, seed: int, replicate: int, stream: str) -> None:
        self._key = np.uint64(_key(seed, replicate, stream)[0])

    def _uniform(self, items: NDArray[np.int64], which: int) -> NDArray[np.float64]:
        """Uniform in (0, 1]."""
        bits = (2 * items.astype(np.uint64) + np.uint64(which)) * np.uint64(0x9E3779B97F4A7C15) + self._key
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits ^= bits >> np.uint64(31)
        found: NDArray[np.float64] = ((bits >> np.uint64(11)) + np.uint64(1)).astype(np.float64) * 2.0**-53
        return found

    def exponential(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Exponential variables of mean 1, shape as ``items``."""
        return -np.log(self._uniform(items, 0))

    def normal(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Standard normal variables, shape as ``items``."""
        angle = 2 * np.pi * self._uniform(items, 1)
        return np.sqrt(2 * self.exponential(items)) * np.cos(angle)
