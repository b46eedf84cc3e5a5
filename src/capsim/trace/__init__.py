"""Recorded loads: read one, describe it, make one up."""

from capsim.trace.describe import describe
from capsim.trace.model import Trace
from capsim.trace.read import FORMATS, find_trace, read_requests, read_trace

__all__ = ["FORMATS", "Trace", "describe", "find_trace", "read_requests", "read_trace"]
