"""One published table: rows with names, columns with units, and the words that belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

SIGNIFICANT = 9  # digits; what differs beyond them differs between machines


@dataclass(frozen=True)
class Published:
    """A table as it is published.

    Parameters
    ----------
    name : str
        Of its file.
    title : str
        The question that it answers.
    note : str
        How it was made, and what it leaves out.
    keys : tuple of str
        The columns that together name a row.
    rows : DataFrame
        One row an observation; units in the names of the columns.
    """

    name: str
    title: str
    note: str
    keys: tuple[str, ...]
    rows: pd.DataFrame

    def csv(self) -> str:
        """The rows as CSV, numbers to nine significant digits.

        Examples
        --------
        >>> import pandas as pd
        >>> Published("x", "", "", ("a",), pd.DataFrame({"a": ["b"], "c_usd": [1 / 3]})).csv()
        'a,c_usd\\nb,0.333333333\\n'
        """
        return self.rows.to_csv(index=False, lineterminator="\n", float_format=f"%.{SIGNIFICANT}g")
