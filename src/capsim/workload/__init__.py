"""The load: recorded traces, rates and scripts, described and made into arrivals."""

from capsim.workload import frames as _frames  # noqa: F401 - fills Trace.from_frame
from capsim.workload.block import BLOCK_US, Block, Sessions
from capsim.workload.description import describe
from capsim.workload.load import Load, load_of
from capsim.workload.model import Trace
from capsim.workload.read import FORMATS, as_trace, find_trace, read_requests, read_trace

__all__ = [
    "BLOCK_US",
    "FORMATS",
    "Block",
    "Load",
    "Sessions",
    "Trace",
    "as_trace",
    "describe",
    "find_trace",
    "load_of",
    "read_requests",
    "read_trace",
]
