"""Predict the memory, the losses and the bill of a small server before it is deployed.

>>> import capsim as cs
>>> scenario = cs.load("after")
>>> scenario.server.pool.limit
10

`load` reads a scenario, `simulate` plays it under a load, `compare` puts runs side by side; `plots` draws tables.
The names below are imported when they are first used, so that ``import capsim`` costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capsim import plots
    from capsim.answer import answer
    from capsim.calibration.fit import calibrate
    from capsim.compare import compare
    from capsim.document import Result, load_document, result_of
    from capsim.errors import CapsimError
    from capsim.memory.constants import constants
    from capsim.recording import Recording, read_recording
    from capsim.run import Run, simulate
    from capsim.scenario import load, names
    from capsim.specs import Scenario
    from capsim.start import ready
    from capsim.stress import stress
    from capsim.sweep.growth import growth
    from capsim.sweep.run import sweep
    from capsim.sweep.sensitivity import sensitivity
    from capsim.trace import Trace, find_trace, read_trace
    from capsim.trace.describe import describe

__all__ = [
    "CapsimError",
    "Recording",
    "Result",
    "Run",
    "Scenario",
    "Trace",
    "answer",
    "calibrate",
    "compare",
    "constants",
    "describe",
    "find_trace",
    "growth",
    "load",
    "load_document",
    "names",
    "plots",
    "read_recording",
    "read_trace",
    "ready",
    "result_of",
    "sensitivity",
    "simulate",
    "stress",
    "sweep",
]

_HOMES = {
    "CapsimError": "errors",
    "Recording": "recording",
    "Result": "document",
    "Run": "run",
    "Scenario": "specs",
    "Trace": "trace",
    "answer": "answer",
    "calibrate": "calibration",
    "compare": "compare",
    "constants": "memory",
    "describe": "trace",
    "find_trace": "trace",
    "growth": "sweep.growth",
    "load": "scenario",
    "load_document": "document",
    "names": "scenario",
    "read_recording": "recording",
    "read_trace": "trace",
    "ready": "start",
    "result_of": "document",
    "sensitivity": "sweep.sensitivity",
    "simulate": "run",
    "stress": "stress",
    "sweep": "sweep.run",
}


def __getattr__(name: str) -> Any:
    if name == "plots":
        return import_module("capsim.plots")
    if name == "__version__":
        from importlib.metadata import version

        return version("capsim")
    if name not in _HOMES:
        raise AttributeError(f"module 'capsim' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(import_module(f"capsim.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__", "__name__", "__version__"])


class _Package(ModuleType):
    """A public function keeps its name though a module has the same one.

    Importing the module ``capsim.compare`` would otherwise bind ``capsim.compare`` to it.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
