"""Recordings of a running server: sampled from `/api/metrics`, kept so that a crash loses one sample, read again."""

from capsim.workload.recordings.model import Recording
from capsim.workload.recordings.read import read_recording

__all__ = ["Recording", "read_recording"]
