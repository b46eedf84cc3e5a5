"""Which Node a service runs, and what the scenario says in its place."""

from __future__ import annotations

import re

from capsim.telemetry.inspect.declared import Declared
from capsim.telemetry.inspect.start_command import Start
from capsim.telemetry.inspect.unknown import Unknown

MODELLED = (20, 24)  # capsim.scenario.server.NodeSpec.version
_IMAGE = re.compile(r"(?:\S*/)?node:(\d{1,2})(?![\d])[\w.\-]*(?:@\S+)?$")
_ONE = re.compile(r"[\^~=v]{0,2}\s*(\d{1,2})(?:\.[\dx*]+)*")
_WITHIN = re.compile(r">=\s*v?(\d{1,2})[\d.]*\s+<\s*v?(\d{1,2})[\d.]*")


def node_version(declared: Declared, start: Start) -> tuple[int | Unknown, str]:
    """Major version of Node, and where it is said: the image, a variable of the builder, package.json, .nvmrc."""
    if start.stage is not None:
        place = f"{start.place.rpartition(': ')[0] or start.place}: FROM"
        if found := _IMAGE.match(start.stage.image):
            return int(found[1]), place
        return Unknown("the image says no version of Node", place), place
    for variable in ("RAILPACK_NODE_VERSION", "NIXPACKS_NODE_VERSION"):
        text: object = declared.variables.get(variable)
        if isinstance(text, str):
            return _of(text, declared.variable_places[variable])
    engines = declared.package.get("engines")
    if isinstance(engines, dict) and isinstance(engines.get("node"), str):
        return _of(engines["node"], f"{declared.package_file}: engines.node")
    for name in (".nvmrc", ".node-version"):
        if file := declared.further(name):
            return _of(file.text, file.source)
    place = "no file says it"
    return Unknown("the builder's default, which changes", place), place


def _of(text: str, place: str) -> tuple[int | Unknown, str]:
    text = text.strip()[:60]
    if found := _ONE.fullmatch(text):
        return int(found[1]), place
    if (found := _WITHIN.fullmatch(text)) and int(found[2]) == int(found[1]) + 1:
        return int(found[1]), place
    return Unknown("a range of versions, of which the builder chooses", place), place
