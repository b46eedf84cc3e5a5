"""capsim's own parts with machine code for chains of timers, as in a process that has followed many."""

from __future__ import annotations

from capsim_model import writer
from job import main

from capsim.kernels import PROCESS

if __name__ == "__main__":
    PROCESS.load()
    main({"writer": writer})
