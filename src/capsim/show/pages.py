"""The one environment of the templates of pages."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def _environment(package: str, folder: str) -> Environment:
    return Environment(
        loader=PackageLoader(package, folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def render(template: str, *, package: str = "capsim.show", folder: str = "templates", **values: Any) -> str:
    """A page: everything that stands in it is escaped, and what a template asks for must be given."""
    return _environment(package, folder).get_template(template).render(**values)
