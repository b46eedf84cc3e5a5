"""Jobs for the engines of a sweep, in a module so that workers can import them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capsim.study.sweeps.point import Job


@dataclass(frozen=True)
class Dying(Job):
    """Squares a number; kills its process the first ``deaths`` times that it is given 3."""

    marks: str = ""
    deaths: int = 0

    def run(self, changes: Mapping[str, Any], replicate: int) -> dict[str, float | None]:
        if changes["x"] == 3:
            died = len(list(Path(self.marks).glob("died*")))
            if died < self.deaths:
                (Path(self.marks) / f"died{died}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
        return {"square": float(changes["x"] ** 2)}


@dataclass(frozen=True)
class Hungry(Job):
    """Wants more memory than there is."""

    def run(self, changes: Mapping[str, Any], replicate: int) -> dict[str, float | None]:
        raise MemoryError
