"""capsim's own parts with machine code for chains of timers, as in a process that has followed many."""

from __future__ import annotations

from capsim_model import writer
from job import main

from capsim.server.chains import CHAINS

if __name__ == "__main__":
    CHAINS.load()
    main({"writer": writer})
