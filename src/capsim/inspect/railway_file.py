"""railway.json and railway.toml, the format that ends on 2026-12-01: its tables, as they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsim.errors import CapsimError


def tables_of(data: Mapping[str, Any], source: str) -> dict[str, Any]:
    for table in ("build", "deploy"):
        if not isinstance(data.get(table, {}), dict):
            raise CapsimError(f"{source}: {table} is no table; write its keys below it")
    return {table: data.get(table, {}) for table in ("build", "deploy")}
