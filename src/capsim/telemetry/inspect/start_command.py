"""Which start command is in effect, by the platform's own order, and what it starts.

A start command of the service comes before all. With a Dockerfile its ENTRYPOINT and CMD follow. Without one Railpack
takes railpack.json, RAILPACK_START_CMD, the Procfile, then package.json (source: its core.go and providers/node,
2026-08); Nixpacks takes NIXPACKS_START_CMD, nixpacks.toml, the Procfile, then package.json.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import normpath

from capsim.base.errors import CapsimError
from capsim.telemetry.inspect.applied import Applied
from capsim.telemetry.inspect.declared import Declared, Folder
from capsim.telemetry.inspect.dockerfile import Stage, read_dockerfile
from capsim.telemetry.inspect.node_options import UNREAD
from capsim.telemetry.inspect.package_scripts import Packages, manager_of
from capsim.telemetry.inspect.plain import json_of, toml_table
from capsim.telemetry.inspect.process_tree import UNKNOWN_SHELL
from capsim.telemetry.inspect.shell import exec_form, shell_form
from capsim.telemetry.inspect.shell_state import StartContainer
from capsim.telemetry.inspect.started import Started, main_of, server_of, unshelled
from capsim.telemetry.inspect.unknown import Unknown


@dataclass(frozen=True)
class Given:
    """What the configuration says about the start."""

    command: object = None  # deploy.startCommand; None: not set
    place: str = ""  # of it
    builder: str = ""
    dockerfile_path: str | None = None
    variables: Mapping[str, object] = field(default_factory=dict)  # of the service; what is no text was not read
    places: Mapping[str, str] = field(default_factory=dict)  # of the variables


@dataclass(frozen=True)
class Start:
    """The start command in effect, and what it comes to."""

    place: str  # file and key, or whose default it is
    found: bool = False  # a command was found
    read_by: str = ""  # the shell that reads it; "" for none
    started: tuple[Started, ...] = ()
    problem: str = ""  # why it is not known what it starts
    remedy: str = ""
    words: tuple[str, ...] = ()  # exec form
    stage: Stage | None = None  # the Dockerfile's last stage
    note: str = ""

    @property
    def main(self) -> Started | None:
        """The command that stays."""
        return main_of(self.started)

    @property
    def server(self) -> Started | None:
        """The same, if it is a Node program."""
        return server_of(self.started)

    @property
    def unshelled(self) -> bool:
        """Whether it needs a shell and has none."""
        return not self.read_by and unshelled(self.words)

    @property
    def process_1(self) -> str | None:
        """The program with process number 1, for people; None where it is not known."""
        if self.main is not None:
            return self.main.process_1
        first = {step.above[0] for step in self.started if step.above}
        return first.pop() if len(first) == 1 else None


def start_of(declared: Declared, applied: Applied) -> Start:
    """The start command of what was declared."""
    path, builder = applied.build.get("dockerfilePath"), applied.build.get("builder")
    command = applied.deploy.get("startCommand")
    given = Given(
        command=command,
        place=command.place if isinstance(command, Unknown) else f"{applied.origin}: deploy.startCommand",
        builder=builder if isinstance(builder, str) else "",
        dockerfile_path=path if isinstance(path, str) and path else None,
        variables=declared.variables,
        places=declared.variable_places,
    )
    return resolve(given, Folder.of(declared))


def resolve(given: Given, folder: Folder) -> Start:
    """The start command in effect.

    Examples
    --------
    >>> files = {"Procfile": "web: node --max-old-space-size=400 web.js", "package.json": '{"scripts": {"start": "x"}}'}
    >>> start = resolve(Given(), Folder.holding(files))
    >>> start.place, start.server.told, start.server.heap_cap.mib, start.process_1
    ('Procfile: web', 'node web.js', 400, 'node')
    """
    try:
        return _resolved(given, folder)
    except CapsimError as error:
        return _refused(error, given.place or "start command", "", None, "")


def _resolved(given: Given, folder: Folder) -> Start:
    path = given.dockerfile_path or _text_of(given.variables.get("RAILWAY_DOCKERFILE_PATH"))
    builder = given.builder.upper()
    if builder == "IMAGE":  # nothing of the folder is in it
        return _docker(given, Folder.holding({}), "the Dockerfile of the image", None)
    name = normpath(path.lstrip("/")) if path else "Dockerfile"
    text = folder.look(name)
    if text is None and folder.dockerfile is not None:
        own = folder.dockerfile.replace("\\", "/").rpartition("/")[2]
        if path is None or name.rpartition("/")[2] == own:
            name, text = own, folder.look(own)
    if path or text is not None or builder == "DOCKERFILE":
        return _docker(given, folder, name, text)
    return _built(given, folder, builder)


def _docker(given: Given, folder: Folder, name: str, text: str | None) -> Start:
    """The start of an image that a Dockerfile describes: no shell but the one it names."""
    variables = _environment(given.variables)
    stage = None if text is None else read_dockerfile(text, variables)
    shown = folder.shown(name)
    base = stage.package if stage else ""
    packages = Packages(folder.below(base)) if base is not None else Packages()
    container = StartContainer(
        sh=stage.sh if stage else UNKNOWN_SHELL,
        packages=packages,
        node_image=stage is not None and stage.of_node,
        root=(stage.root if stage else None) or "/app",
        folder=stage.folder if stage else "",
    )
    env = {**(stage.env if stage else {"NODE_OPTIONS": UNREAD}), **variables}  # a variable wins over the image's ENV
    missing = f"{name} was not given, so its ENV and its shell are not known"
    if given.command not in (None, ""):
        return _exec(given.command, env, given.place, container, stage, "" if stage else missing)
    if stage is None:
        return Start(shown, problem=f"{name} was not given", remedy=f"give {name} as well")
    words = stage.words
    if words is None:
        problem = "has neither ENTRYPOINT nor CMD, so the start is that of its base image"
        return Start(shown, stage=stage, problem=problem, remedy="write CMD")
    place = f"{shown}: {stage.place}"
    broken = next((c for c in (stage.entrypoint, stage.command) if c and (c.text or "").startswith("[")), None)
    if broken is not None:
        problem = "is no list of texts in double quotes, so Docker hands it to a shell as it stands"
        return Start(place, True, "sh", problem=problem, remedy="write each word in double quotes", stage=stage)
    return _exec(words, env, place, container, stage, "")


def _exec(
    command: object, env: Mapping[str, str], place: str, container: StartContainer, stage: Stage | None, note: str
) -> Start:
    problem = _unreadable(command)
    if problem is not None:
        return Start(place, True, problem=problem[0], remedy=problem[1], stage=stage, note=note)
    try:
        words = tuple(shlex.split(command)) if isinstance(command, str) else tuple(command)  # type: ignore[arg-type]
    except ValueError:
        return Start(place, True, problem="has a quote that is never closed", remedy="close it", stage=stage, note=note)
    read_by = container.shell("sh") if words[:2] == ("/bin/sh", "-c") and not isinstance(command, str) else ""
    try:
        started = tuple(exec_form(words, env, place, container))
    except CapsimError as error:
        return _refused(error, place, read_by, stage, note)
    return Start(place, True, read_by, started, words=words, stage=stage, note=note)


def _built(given: Given, folder: Folder, builder: str) -> Start:
    """The start of an image that Railpack or Nixpacks builds: bash reads it."""
    packages = Packages(folder.look)
    found = (given.command, given.place) if given.command not in (None, "") else None
    note = ""
    if not found:
        builder, note = _builder(builder, given, folder)
        try:
            found = next(_commands(builder, given, folder, packages), None)
        except CapsimError as error:
            return _refused(error, "start command", "bash", None, note)
    if not found:
        what = "no file says how the server is started"
        remedy = "give railway.json, railway.ts, a Dockerfile or package.json as well"
        if packages.at("") is not None:
            what = "package.json has neither scripts.start nor main"
            remedy = "name the start command in railway.ts"
        return Start("start command", problem=what, remedy=remedy, note=note)
    command, place = found
    problem = _unreadable(command)
    if problem is not None:
        return Start(place, True, "bash", problem=problem[0], remedy=problem[1], note=note)
    try:
        started = shell_form(str(command), _environment(given.variables), place, StartContainer(packages=packages))
    except CapsimError as error:
        return _refused(error, place, "bash", None, note)
    return Start(place, True, "bash", tuple(started), note=note)


def _builder(builder: str, given: Given, folder: Folder) -> tuple[str, str]:
    """The builder; one that no file names is told by the files that only it reads."""
    if builder:
        return builder, ""
    if "NIXPACKS_START_CMD" in given.variables or folder.look("nixpacks.toml") is not None:
        if "RAILPACK_START_CMD" in given.variables or folder.look("railpack.json") is not None:
            return "RAILPACK", "what is said for Nixpacks has no effect with Railpack, whose files are here, too"
        return "NIXPACKS", (
            "taken as built by Nixpacks, since only Nixpacks reads this; no file names the builder, and Railpack, the "
            "default of new services, passes it over"
        )
    return "RAILPACK", ""


def _commands(builder: str, given: Given, folder: Folder, packages: Packages) -> Iterator[tuple[object, str]]:
    """Start commands in the builder's order, with their places."""
    variable = f"{'NIXPACKS' if builder == 'NIXPACKS' else 'RAILPACK'}_START_CMD"
    told = (
        [(given.variables[variable], f"{given.places.get(variable, 'variables')}: {variable}")]
        if (variable in given.variables)
        else []
    )
    if builder == "NIXPACKS":
        yield from told
        if (text := folder.look("nixpacks.toml")) is not None:
            start = toml_table(text, folder.shown("nixpacks.toml")).get("start")
            if isinstance(start, dict) and start.get("cmd"):
                yield start["cmd"], f"{folder.shown('nixpacks.toml')}: [start] cmd"
    else:
        if (text := folder.look("railpack.json")) is not None:
            data = json_of(text, folder.shown("railpack.json"))
            deploy = data.get("deploy") if isinstance(data, dict) else None
            if isinstance(deploy, dict) and deploy.get("startCommand"):
                yield deploy["startCommand"], f"{folder.shown('railpack.json')}: deploy.startCommand"
        yield from told
    if (text := folder.look("Procfile")) is not None and (process := _procfile(text)) is not None:
        yield process[1], f"{folder.shown('Procfile')}: {process[0]}"
    yield from _by_package(builder, folder, packages)


def _by_package(builder: str, folder: Folder, packages: Packages) -> Iterator[tuple[object, str]]:
    whose = "Nixpacks' default" if builder == "NIXPACKS" else "Railpack's default"
    package = packages.at("")
    if package is None:
        return
    manager = manager_of(package, folder.has, builder)
    program = "bun" if manager == "bun" else "node"
    if "start" in (packages.scripts("") or {}):
        yield f"{manager} run start", f"{whose} (package.json: scripts.start)"
    main = package.get("main")
    if isinstance(main, str) and main:
        yield f"{program} {shlex.quote(main)}", f"{whose} (package.json: main)"
    for name in ("index.js", "index.ts"):
        if folder.has(name):
            yield f"{program} {name}", f"{whose} ({name})"


def _procfile(text: str) -> tuple[str, str] | None:
    """The process that is started: web, else worker, else the first."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if (match := re.match(r"\s*([\w-]+):\s*(\S.*?)\s*$", line)) is not None:
            found.setdefault(match[1], match[2])
            if match[1] in ("web", "worker"):
                found[match[1]] = match[2]
    name = next((name for name in ("web", "worker", *found) if name in found), None)
    return (name, found[name]) if name else None


def _environment(variables: Mapping[str, object]) -> dict[str, str]:
    """Variables as a process gets them; what only the platform knows is marked."""
    return {
        name: re.sub(r"\$\{\{.*?\}\}", UNREAD, value, flags=re.DOTALL) if isinstance(value, str) else UNREAD
        for name, value in variables.items()
    }


def _unreadable(command: object) -> tuple[str, str] | None:
    """Why a command cannot be followed at all."""
    if isinstance(command, Unknown):
        return command.why, "write it as a plain text"
    if isinstance(command, tuple):
        return None
    if not isinstance(command, str):
        return "is no text", "write the command in quotes"
    if re.search(r"\$\{\{.*?\}\}", command, re.DOTALL) and not re.search(r"\$\{\{.*?\}\}", command).start():  # type: ignore[union-attr]
        return "is a reference, which only the platform resolves", "write the command itself"
    return None


def _refused(error: CapsimError, place: str, read_by: str, stage: Stage | None, note: str) -> Start:
    problem, _, remedy = str(error).removeprefix(f"{place}: ").partition("; ")
    remedy = remedy or "name the server's command"
    return Start(place, True, read_by, problem=problem, remedy=remedy, stage=stage, note=note)


def _text_of(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
