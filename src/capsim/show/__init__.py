"""What people see: text, pages, plots, cards, the explorer, notebooks."""

from lazy_loader import attach

__getattr__, __dir__, __all__ = attach(__name__, submodules=["plots"])
