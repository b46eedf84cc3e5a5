"""The cheapest configuration that meets its targets, found by simulating candidates (extra ``optimize``)."""

from capsim.optimize.document import Optimum, dumps, schema_text
from capsim.optimize.search import optimize
from capsim.optimize.space import Knob, space

__all__ = ["Knob", "Optimum", "dumps", "optimize", "schema_text", "space"]
