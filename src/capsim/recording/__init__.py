"""Recordings of a running server: sampled from `/api/metrics`, kept so that a crash loses one sample, read again."""

from capsim.recording.model import Recording
from capsim.recording.read import read_recording

__all__ = ["Recording", "read_recording"]
