"""What a package manager is asked to run, in which package, and the scripts of that package."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import normpath
from typing import Any

from capsim.base.errors import CapsimError
from capsim.telemetry.inspect.node_options import UNREAD
from capsim.telemetry.inspect.plain import json_of

_FOLDER = {  # options that name the folder of the package
    "npm": ("--prefix", "-C"),
    "pnpm": ("--dir", "-C", "--prefix"),
    "yarn": ("--cwd",),
    "bun": ("--cwd",),
}
_NAME = {"npm": ("-w", "--workspace"), "pnpm": ("--filter", "-F"), "yarn": (), "bun": ("--filter", "-F")}
_EVERY = {"npm": ("-ws", "--workspaces"), "pnpm": ("-r", "--recursive"), "yarn": (), "bun": ()}
_VALUES = ("--loglevel", "--script-shell", "--userconfig", "--registry", "--cache", "--config", "-p", "--package",
           "--reporter", "--env-file", "--shell", "--workspace-concurrency", "--store-dir")  # fmt: skip
_STEPS = frozenset((
    "install", "i", "ci", "clean-install", "add", "remove", "uninstall", "rebuild", "prune", "cache", "config",
    "set", "get", "audit", "version", "view", "link", "init", "update", "up", "upgrade", "dedupe", "import",
    "fetch", "publish", "pack", "root", "bin", "whoami", "ls", "list", "outdated", "why", "setup", "doctor", "rm",
    "env", "store", "approve-builds", "deploy", "pm", "create", "completion",
))  # fmt: skip
_EXEC = {"npm": ("exec", "x"), "pnpm": ("exec", "dlx"), "yarn": ("exec", "dlx", "node"), "bun": ("x",)}


@dataclass(frozen=True)
class ScriptCall:
    """What the words after a package manager ask it for."""

    folder: str | None = ""  # from where it is called; None: several packages, or one that was not found by its name
    name: str | None = None  # of the workspace or filter
    script: str | None = None
    program: tuple[str, ...] = ()  # run as it is, from node_modules or by the manager's own runtime
    step: bool = False  # nothing that stays


def asked(manager: str, words: Sequence[str]) -> ScriptCall:
    """The request behind ``npm``, ``pnpm``, ``yarn`` or ``bun``.

    Examples
    --------
    >>> request = asked("npm", ["run", "start", "-w", "backend"])
    >>> request.script, request.name
    ('start', 'backend')
    >>> asked("pnpm", ["-C", "apps/api", "start"]).folder, asked("yarn", ["dlx", "tsx", "a.ts"]).program
    ('apps/api', ('tsx', 'a.ts'))
    """
    folder, name, several = "", None, False
    plain: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            plain += left if plain and plain[0] in _EXEC[manager] else []
            break
        option, equals, value = word.partition("=")
        if option in (*_FOLDER[manager], *_NAME[manager]):
            value = value if equals else left.pop(0) if left else ""
            if option in _FOLDER[manager]:
                folder = value
            else:
                several, name = several or name is not None, value
        elif word in _EVERY[manager]:
            several = True
        elif option in _VALUES and not equals:
            left = left[1:]
        elif not word.startswith("-"):
            plain.append(word)
            if _ends_options(manager, plain):
                # What follows is the program's own, but npm takes its options from everywhere.
                plain += left
                break
    found = _request(manager, plain)
    where = None if several or (name is not None and re.search(r"[*!{}\[\]^]|\.\.\.", name)) else folder
    return ScriptCall(where, name, found.script, found.program, found.step) if found.name is None else found


def _ends_options(manager: str, plain: list[str]) -> bool:
    if plain[0] in _EXEC[manager] and len(plain) == (1 if plain[0] == "node" else 2):
        return True
    return manager != "npm" and plain[0] not in ("run", "run-script", "workspace", "workspaces")


def _request(manager: str, plain: list[str]) -> ScriptCall:
    """The request of the words that are no options."""
    if not plain:
        return ScriptCall(step=manager == "yarn")  # yarn alone installs
    first, rest = plain[0], tuple(plain[1:])
    if manager == "yarn" and first == "workspace" and len(rest) > 1:
        inner = asked("yarn", rest[1:])
        return ScriptCall(inner.folder, rest[0], inner.script, inner.program, inner.step)
    if manager == "yarn" and first == "workspaces":
        return ScriptCall(None, "all workspaces", rest[-1] if rest else None)
    if first in _EXEC[manager]:
        return ScriptCall(program=("node", *rest) if first == "node" else rest)
    if first in ("run", "run-script"):
        first, rest = (rest[0], rest[1:]) if rest else ("", ())
    elif first in _STEPS:
        return ScriptCall(step=True)
    if manager == "bun" and re.search(r"\.[cm]?[jt]sx?$|/", first):
        return ScriptCall(program=("bun", first))
    return ScriptCall(script=first or None, program=(first, *rest) if first else ())


@dataclass
class Packages:
    """The package.json of a folder and of those below it, as far as they were given.

    ``look`` answers with the text of a file, by its path from the service's root folder, or None if it was not given.
    """

    look: Callable[[str], str | None] = lambda path: None
    _read: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)

    def at(self, folder: str) -> Mapping[str, Any] | None:
        """The package.json of a folder; "" is the root."""
        if folder not in self._read:
            path = f"{folder}/package.json" if folder else "package.json"
            text = self.look(path)
            data = None if text is None else json_of(text, path)
            self._read[folder] = data if isinstance(data, dict) else None
        return self._read[folder]

    def scripts(self, folder: str) -> Mapping[str, str] | None:
        """The scripts of a package.

        Raises
        ------
        CapsimError
            If they are no table of texts.
        """
        package = self.at(folder)
        if package is None:
            return None
        scripts = package.get("scripts") or {}
        if not isinstance(scripts, dict) or not all(isinstance(value, str) for value in scripts.values()):
            place = f"{folder}/package.json" if folder else "package.json"
            raise CapsimError(f"{place}: scripts is no table of commands; write each as a text")
        return scripts

    def folder_of(self, name: str, start: str = "") -> str | None:
        """The folder of a workspace by its path or by its name; None where no package.json says so."""
        for folder in self._candidates(name):
            path = joined(start, folder)
            package = None if path is None else self.at(path)
            if package is not None and (package.get("name") == name or name.removeprefix("./").rstrip("/") == folder):
                return path
        return None

    def _candidates(self, name: str) -> Iterator[str]:
        plain = name.removeprefix("./").rstrip("/")
        last = plain.rpartition("/")[2]
        yield plain
        yield last
        root = self.at("") or {}
        spaces = root.get("workspaces", [])
        spaces = spaces.get("packages", []) if isinstance(spaces, dict) else spaces
        given = [one for one in spaces if isinstance(one, str)] if isinstance(spaces, list) else []
        given += re.findall(r"^\s*-\s*[\"']?([\w./*@-]+)", self.look("pnpm-workspace.yaml") or "", re.MULTILINE)
        for pattern in [*given, "apps/*", "packages/*", "services/*"]:
            yield re.sub(r"\*+", last, pattern.removeprefix("./").rstrip("/"))
            if "*" not in pattern:
                yield pattern.removeprefix("./").rstrip("/")


def joined(start: str | None, folder: str, root: str = "/app") -> str | None:
    """A folder from another one; None where it is not below the root, or not known.

    ``root`` is where the container has the service's root folder: /app with Railpack and Nixpacks.
    """
    if start is None or UNREAD in folder or folder.startswith(("~", "-")):
        return None
    if folder.startswith("/"):
        if folder != root and not folder.startswith(f"{root}/"):
            return None
        start, folder = "", folder[len(root) :].lstrip("/")
    path = normpath(f"{start or '.'}/{folder or '.'}")
    return None if path == ".." or path.startswith("../") else "" if path == "." else path


def manager_of(package: Mapping[str, Any] | None, given: Callable[[str], bool], builder: str) -> str:
    """The package manager that a builder takes for a start script (source: Railpack's and Nixpacks' Node providers).

    Examples
    --------
    >>> manager_of({"packageManager": "pnpm@9.1.0"}, lambda name: False, "RAILPACK")
    'pnpm'
    >>> manager_of({}, {"yarn.lock"}.__contains__, "RAILPACK")
    'yarn'
    """
    package = package or {}
    if builder == "NIXPACKS":
        locks = (("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn"), ("bun.lockb", "bun"), ("bun.lock", "bun"))
        return next((name for lock, name in locks if given(lock)), "npm")
    field_of = package.get("packageManager")
    name = field_of.partition("@")[0] if isinstance(field_of, str) else ""
    if name in ("npm", "pnpm", "yarn", "bun"):
        return name
    for lock, name in (
        ("pnpm-lock.yaml", "pnpm"),
        ("bun.lockb", "bun"),
        ("bun.lock", "bun"),
        (".yarnrc.yml", "yarn"),
        (".yarnrc.yaml", "yarn"),
        ("yarn.lock", "yarn"),
    ):
        if given(lock):
            return name
    engines = package.get("engines")
    if isinstance(engines, dict):
        return next((name for name in ("pnpm", "bun", "yarn") if str(engines.get(name) or "").strip()), "npm")
    return "npm"


def scripts_of(text: str, source: str) -> dict[str, str]:
    """The scripts of a package.json."""
    data = json_of(text, source)
    scripts = data.get("scripts", {}) if isinstance(data, dict) else None
    if not isinstance(scripts, dict) or not all(isinstance(value, str) for value in scripts.values()):
        raise CapsimError(f"{source}: scripts is no table of commands; write each as a text")
    return scripts


def table_of(scripts: Mapping[str, str]) -> Packages:
    """Packages of which only the root's scripts are known."""
    return Packages(lambda path: json.dumps({"scripts": dict(scripts)}) if path == "package.json" else None)
