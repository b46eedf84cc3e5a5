"""How objects show themselves in notebooks: a card and plots for each class, registered by its name.

What draws lies above what is drawn, so an object asks here, and `capsim.show.objects` fills the registry when the
first object asks.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

_CARDS: dict[str, Callable[[Any], str]] = {}
_PLOTS: dict[str, Callable[[Any], Any]] = {}


def register(name: str, *, card: Callable[[Any], str] | None = None, plots: Callable[[Any], Any] | None = None) -> None:
    """Say how objects of the class of this name are shown."""
    if card is not None:
        _CARDS[name] = card
    if plots is not None:
        _PLOTS[name] = plots


class HasCard:
    """An object that a notebook shows as a small table."""

    def _repr_html_(self) -> str:
        return str(_found(_CARDS, type(self))(self))


class HasPlots:
    """An object with plots of its own."""

    @property
    def plot(self) -> Any:
        """Plots of this object, each taking and returning Axes: ``run.plot.memory(ax=None)``."""
        return _found(_PLOTS, type(self))(self)


def _found(registry: dict[str, Callable[[Any], Any]], cls: type) -> Callable[[Any], Any]:
    if not registry:
        import_module("capsim.show.objects")
    return next(registry[base.__name__] for base in cls.__mro__ if base.__name__ in registry)
