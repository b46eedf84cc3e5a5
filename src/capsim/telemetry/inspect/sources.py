"""Reads configuration files into what they declare: values with the file and key that each came from.

Nothing read is executed, expanded or looked up elsewhere, and no message shows a value that may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import normpath

from capsim.base.errors import CapsimError
from capsim.telemetry.inspect.declared import LOCK_FILES, Declared, text_of
from capsim.telemetry.inspect.plain import json_table, toml_table, variables_of
from capsim.telemetry.inspect.railway_file import is_railway, tables_of
from capsim.telemetry.inspect.railway_ts import not_read, typescript

KNOWN = (
    "railway.json",
    "railway.toml",
    ".railway/railway.ts",
    "railway.ts",
    ".railway/railway.py",
    ".railway/railway.go",
    ".env",
    "package.json",
    "Dockerfile",
    "Procfile",
    "railpack.json",
    "nixpacks.toml",
)
FURTHER = ("Procfile", "railpack.json", "nixpacks.toml")  # opened where the start command is looked for

ADDRESS = "the address given"
_KINDS = f"is of no known kind; give {', '.join(KNOWN)}, a folder or a postgresql:// address"


def read(paths: list[str], service: str | None = None, environment: str | None = None) -> Declared:
    """Read files, folders that hold some of them, and database URLs.

    Parameters
    ----------
    paths : list of str
        Files by the names of `KNOWN` (or ending in them, or in ``.env``), folders, ``postgresql://`` addresses.
    service : str, optional
        Which service of a railway.ts that declares several.
    environment : str, optional
        Whose block of railway.json applies, and which one ``ctx.isEnvironment`` of railway.ts asks about.

    Raises
    ------
    CapsimError
        If one cannot be read, is of no known kind, or is not what its name says: file, line and remedy.
    """
    declared = Declared(environment=environment)
    for path in paths:
        if re.match(r"[a-z][a-z0-9+]{2,30}://", path, re.IGNORECASE):
            declared.variables["DATABASE_URL"] = path
            declared.variable_places["DATABASE_URL"] = ADDRESS
            continue
        for file in _files(Path(path), declared):
            _read_file(file, declared, service)
    _lay_over(declared)
    _enter(declared)
    return declared


def _enter(declared: Declared) -> None:
    """The folder below that railway.ts names as the service's root: its package.json and Dockerfile count."""
    root = declared.new.get("root")
    below = normpath(root.strip("/")) if isinstance(root, str) and "\0" not in root else "."
    folder = next((folder / below for folder in declared.folders if (folder / below).is_dir()), None)
    if below in (".", "..") or below.startswith("../") or folder is None:
        return
    declared.package, declared.package_file, declared.dockerfile_name = {}, None, None
    declared.folders = [folder]
    declared.lock_files = tuple(name for name in LOCK_FILES if (folder / name).is_file())
    for name in ("package.json", "Dockerfile", ".env"):
        if (folder / name).is_file():
            _read_file(folder / name, declared, None)


def _lay_over(declared: Declared) -> None:
    """Variables that railway.ts writes out win over a .env, which fills in those that it leaves to Railway."""
    for name, value in declared.new.get("env", {}).items():
        known = name in declared.variables
        if not known or (isinstance(value, str) and declared.variable_places[name] != ADDRESS):
            declared.variables[name] = value
            declared.variable_places[name] = f"{declared.new_file}: env.{name}"


def _files(path: Path, declared: Declared) -> Iterator[Path]:
    if not path.is_dir():
        declared.named[path.name] = path
        yield path
        return
    declared.folders.append(path)
    declared.lock_files += tuple(name for name in LOCK_FILES if (path / name).is_file())
    found = [path / name for name in KNOWN if (path / name).is_file()]
    if not found:
        raise CapsimError(f"{path}: has none of {', '.join(KNOWN)}; name a file, or the folder of the service")
    yield from found


def _read_file(path: Path, declared: Declared, service: str | None) -> None:
    name, source = path.name, str(path)
    if name in LOCK_FILES:
        declared.lock_files += (name,)
    elif name in FURTHER:
        pass
    elif name == "package.json":
        declared.package, declared.package_file = json_table(text_of(path), source), source
    elif name.endswith((".json", ".toml")):
        data = (json_table if name.endswith(".json") else toml_table)(text_of(path), source)
        if "railway" not in name and not is_railway(data):
            raise CapsimError(f"{source}: {_KINDS}")
        _once(declared.old_file, source)
        declared.old, declared.old_file = tables_of(data, source, declared.environment), source
    elif name.endswith((".ts", ".py", ".go")):
        _once(declared.new_file, source)
        read = typescript if name.endswith(".ts") else not_read
        declared.new, declared.new_file = read(text_of(path), source, service, declared.environment), source
    elif name.startswith(".env") or name.endswith(".env"):
        for key, value, line in variables_of(text_of(path), source):
            declared.variables[key] = value
            declared.variable_places[key] = f"{source}:{line}"
    elif name.startswith("Dockerfile") or name.lower().endswith(".dockerfile"):
        declared.dockerfile_name = source  # read where the start command is looked for
    else:
        raise CapsimError(f"{source}: {_KINDS}")


def _once(before: str | None, source: str) -> None:
    if before:
        raise CapsimError(f"{source}: {before} was read already, and the platform reads one of them; name that one")
