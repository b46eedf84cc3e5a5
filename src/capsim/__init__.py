"""Predict the memory, the losses and the bill of a small server before it is deployed.

>>> import capsim as cs
>>> scenario = cs.load("after")
>>> scenario.server.pool.limit
10

`load` reads a scenario, `simulate` plays it under a load, `compare` puts runs side by side; `plots` draws tables.
The names are listed in ``__init__.pyi`` and imported on first use, so that ``import capsim`` costs next to nothing.
"""

from typing import Any

from lazy_loader import attach_stub

_attribute, _names, __all__ = attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("capsim")
    if name not in __all__:
        raise AttributeError(f"module 'capsim' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return _attribute(name)


def __dir__() -> list[str]:
    return sorted([*_names(), "__doc__", "__name__", "__version__"])
