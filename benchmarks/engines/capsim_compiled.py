"""capsim's own parts with their kernels as machine code, as in a process that has had much to do."""

from __future__ import annotations

from capsim_model import writer
from job import main

from capsim.engine.kernels import PROCESS

if __name__ == "__main__":
    PROCESS.load()
    main({"writer": writer})
