"""Facts of a run, appended while it goes; what they mean is worked out afterwards.

Facts are rows of whole numbers. Rows that are not wanted for good are taken away block by block, so a run's memory does
not grow with its length.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


FIRST_ROWS = 256  # that a `Pieces` makes room for; the room doubles whenever it is full


class Pieces:
    """Tables of the same columns that follow each other, in one growing table.

    Every piece but the last one is copied into it: small arrays that stay behind among large ones that go keep the
    memory of these from being given back (a month at 100/s took 434 MiB instead of 204).

    Examples
    --------
    >>> pieces = Pieces()
    >>> pieces.add({"rows": np.array([1, 2])})
    >>> pieces.add({"rows": np.array([3])})
    >>> pieces.together()["rows"].tolist()
    [1, 2, 3]
    """

    def __init__(self) -> None:
        self._columns: dict[str, NDArray[np.generic]] = {}
        self._rows = 0
        self._last: dict[str, NDArray[np.generic]] = {}

    def add(self, piece: dict[str, NDArray[np.generic]]) -> None:
        """The next piece; it may be changed until another one is added."""
        self._keep()
        self._last = piece

    @property
    def last(self) -> dict[str, NDArray[np.generic]]:
        """The piece added last."""
        return self._last

    def __len__(self) -> int:
        """Rows so far."""
        return self._rows + len(next(iter(self._last.values()), ()))

    def together(self) -> dict[str, NDArray[np.generic]]:
        """All of them as one table; there must be one."""
        self._keep()
        return {name: column[: self._rows] for name, column in self._columns.items()}

    def _keep(self) -> None:
        """Copy the last piece to the others."""
        rows = len(self)
        for name, values in self._last.items():
            column = self._columns.get(name, np.empty(FIRST_ROWS, values.dtype))
            dtype = np.result_type(column, values)
            if rows > len(column) or dtype != column.dtype:
                grown = np.empty(max(2 * len(column), rows) if rows > len(column) else len(column), dtype)
                grown[: self._rows] = column[: self._rows]
                column = grown
            column[self._rows : rows] = values
            self._columns[name] = column
        self._rows, self._last = rows, {}


class Facts:
    """Rows of whole numbers under named columns.

    Examples
    --------
    >>> facts = Facts("start_us", "end_us")
    >>> facts.add(1, 5)
    >>> facts.drain()["end_us"].tolist()
    [5]
    >>> len(facts)
    0
    """

    def __init__(self, *columns: str) -> None:
        self.columns = columns
        self._values = [array("q") for _ in columns]

    def add(self, *row: int) -> None:
        """Append one row."""
        for column, value in zip(self._values, row, strict=True):
            column.append(value)

    def add_all(self, *columns: Rows | int) -> None:
        """Append many rows, given as columns, one at least; a number stands for a column of it."""
        rows = next(len(column) for column in columns if isinstance(column, np.ndarray))
        for column, more in zip(self._values, columns, strict=True):
            if isinstance(more, np.ndarray):
                column.frombytes(np.ascontiguousarray(more, np.int64).data.cast("B"))
            else:
                column.extend(array("q", [more]) * rows)

    def __len__(self) -> int:
        return len(self._values[0])

    def cut(self, rows: int) -> None:
        """Forget everything after the first ``rows`` rows."""
        for column in self._values:
            del column[rows:]

    def rows(self, begin: int, end: int | None = None) -> list[array[int]]:
        """The rows ``[begin, end)``, by default up to the last, for `put_back`."""
        return [column[begin:end] for column in self._values]

    def put_back(self, rows: list[array[int]]) -> None:
        """Append rows that were here before they were cut."""
        for column, more in zip(self._values, rows, strict=True):
            column += more

    def since(self, row: int) -> dict[str, Rows]:
        """The rows from number ``row`` on, as columns."""
        return self._columns(self.rows(row))

    def drain(self) -> dict[str, Rows]:
        """All rows so far as columns; the recorder is empty afterwards."""
        values, self._values = self._values, [array("q") for _ in self.columns]
        return self._columns(values)

    def _columns(self, values: list[array[int]]) -> dict[str, Rows]:
        return {name: np.frombuffer(column, np.int64) for name, column in zip(self.columns, values, strict=True)}
