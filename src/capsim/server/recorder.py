"""Facts of a run, appended while it goes; what they mean is worked out afterwards.

Facts are rows of whole numbers. Rows that are not wanted for good are taken away block by block, so a run's memory does
not grow with its length.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


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
        self._values = array("q")

    def add(self, *row: int) -> None:
        """Append one row."""
        self._values.extend(row)

    def add_all(self, *columns: Rows | int) -> None:
        """Append many rows, given as columns, one at least; a number stands for a column of it."""
        rows = next(len(column) for column in columns if isinstance(column, np.ndarray))
        table = np.empty((rows, len(columns)), np.int64)
        for place, column in enumerate(columns):
            table[:, place] = column
        self._values.frombytes(table.tobytes())

    def __len__(self) -> int:
        return len(self._values) // len(self.columns)

    def cut(self, rows: int) -> None:
        """Forget everything after the first ``rows`` rows."""
        del self._values[rows * len(self.columns) :]

    def rows(self, row: int) -> array[int]:
        """The rows from number ``row`` on, for `put_back`."""
        return self._values[row * len(self.columns) :]

    def put_back(self, rows: array[int]) -> None:
        """Append rows that were here before they were cut."""
        self._values += rows

    def since(self, row: int) -> dict[str, Rows]:
        """The rows from number ``row`` on, as columns."""
        return self._columns(self._values[row * len(self.columns) :])

    def drain(self) -> dict[str, Rows]:
        """All rows so far as columns; the recorder is empty afterwards."""
        values, self._values = self._values, array("q")
        return self._columns(values)

    def _columns(self, values: array[int]) -> dict[str, Rows]:
        table = np.array(values, np.int64).reshape(-1, len(self.columns))
        return {name: table[:, place] for place, name in enumerate(self.columns)}
