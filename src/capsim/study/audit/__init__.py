"""The plan's claims beside predictions: each with its interval, a verdict, and what would have to be true.

`claims` reads them, `sides` says which servers are compared, `figures` reads figures off a played one, `needs` searches
for what would have to be true, `verdict` judges, `examine` does all of it; `document` and `page` are how it is told.
"""

from capsim.base.document import dumps
from capsim.study.audit.document import Audit, load_audit, schema_text
from capsim.study.audit.examine import examine

__all__ = ["Audit", "dumps", "examine", "load_audit", "schema_text"]
