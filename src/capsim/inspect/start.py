"""The start command: which file gives it, what reads it, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capsim.errors import CapsimError
from capsim.inspect.declared import Declared
from capsim.inspect.shell import Started, exec_form, shell_form
from capsim.inspect.unknown import Unknown


@dataclass(frozen=True)
class Start:
    """A start command, and the commands that it comes to."""

    command: str | None
    source: str  # file and key
    shell: bool  # read by a shell
    steps: tuple[Started, ...]


def start_of(declared: Declared, deploy: Mapping[str, Any], origin: str, builder: str) -> Start:
    """The start command by the platform's order.

    Parameters
    ----------
    declared : Declared
        What the files say; its variables are complete.
    deploy : mapping
        The ``deploy`` table that applies.
    origin : str
        The file of ``deploy``, or what stands in for it.
    builder : str
        The builder declared, in capitals, or "".
    """
    docker = bool(declared.dockerfile_name) or builder == "DOCKERFILE"
    command, source, shell = deploy.get("startCommand"), f"{origin}: deploy.startCommand", not docker
    if command is None and declared.dockerfile.get("command"):
        command, source = declared.dockerfile["command"], f"{declared.dockerfile_name}: CMD"
        shell = declared.dockerfile["shell"]
    elif command is None and "start" in declared.scripts:
        command, source = "npm start", "Railpack's default (package.json: scripts.start)"
    if command is not None and not isinstance(command, str):
        raise CapsimError(f"{source} is no text; write the command in quotes")
    if isinstance(command, Unknown):
        return Start(None, source, shell, ())
    text = {name: value for name, value in declared.variables.items() if isinstance(value, str)}
    env = {**declared.dockerfile.get("env", {}), **text}  # a variable wins over the image's ENV
    started: list[Started] = []
    if command:
        started = (
            shell_form(command, env, declared.scripts, source)
            if shell
            else exec_form(command, env, source, declared.scripts)
        )
    return Start(command, source, shell, tuple(started))
