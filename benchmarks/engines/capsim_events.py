"""capsim's batch writer without look-ahead: two events of the engine for every flush, its start and its end."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from capsim_model import writer
from job import main


def by_events(given: Mapping[str, np.ndarray]) -> list[float]:
    """The batch writer: flushes, rows written, rows dropped."""
    return writer(given, look_ahead=False)


if __name__ == "__main__":
    main({"writer": by_events})
