"""Knobs that redraw a day: the same settings, engine and answer in a notebook and on a page of its own.

`settings` says what can be turned, `engine` plays it, `serve` is the page (`capsim app`), `widget` the notebook's.
"""

from capsim.show.explorer.engine import explored
from capsim.show.explorer.settings import SETTINGS, Settings

__all__ = ["SETTINGS", "Settings", "explored"]
