"""Memory: from counts to heap, to resident, to billed; every constant has a unit, an error, a standing and a source."""

from capsim.memory.constants import CONSTANTS, Constant, constants
from capsim.memory.services import ended, of_server, of_services, resident

__all__ = ["CONSTANTS", "Constant", "constants", "ended", "of_server", "of_services", "resident"]
