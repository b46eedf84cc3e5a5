"""A scenario's load: a trace, a rate or a script, made into arrivals."""

from capsim.workload.block import BLOCK_US, Block, Sessions
from capsim.workload.load import Load, load_of

__all__ = ["BLOCK_US", "Block", "Load", "Sessions", "load_of"]
