"""Recorded loads: read one, describe it, make one up."""

from capsim.trace.describe import describe
from capsim.trace.model import Trace
from capsim.trace.read import FORMATS, as_trace, find_trace, read_requests, read_trace

__all__ = ["FORMATS", "Trace", "as_trace", "describe", "find_trace", "read_requests", "read_trace"]
