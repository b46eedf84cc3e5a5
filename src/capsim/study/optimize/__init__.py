"""The cheapest configuration that meets its targets, found by simulating candidates (extra ``optimize``)."""

from capsim.base.document import dumps
from capsim.study.optimize.document import Optimum, schema_text
from capsim.study.optimize.search import optimize
from capsim.study.optimize.space import Knob, space

__all__ = ["Knob", "Optimum", "dumps", "optimize", "schema_text", "space"]
