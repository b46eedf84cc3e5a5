"""Reads configuration files into what they declare: values with the file and key that each came from.

Nothing read is executed, expanded or looked up elsewhere, and no message shows a value that may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from capsim.errors import CapsimError
from capsim.inspect.declared import LOCK_FILES, Declared, text_of
from capsim.inspect.dockerfile import dockerfile
from capsim.inspect.environment_file import variables_of
from capsim.inspect.plain import json_table, toml_table
from capsim.inspect.railway_file import tables_of
from capsim.inspect.railway_ts import typescript

KNOWN = (
    "railway.json",
    "railway.toml",
    ".railway/railway.ts",
    "railway.ts",
    ".env",
    "package.json",
    "Dockerfile",
    "Procfile",
    "railpack.json",
    "nixpacks.toml",
)
FURTHER = ("Procfile", "railpack.json", "nixpacks.toml")  # opened where the start command is looked for


def read(paths: list[str], service: str | None = None) -> Declared:
    """Read files, folders that hold some of them, and database URLs.

    Parameters
    ----------
    paths : list of str
        Files by the names of `KNOWN` (or ending in them, or in ``.env``), folders, ``postgresql://`` addresses.
    service : str, optional
        Which service of a railway.ts that declares several.

    Raises
    ------
    CapsimError
        If one cannot be read, is of no known kind, or is not what its name says: file, line and remedy.
    """
    declared = Declared()
    for path in paths:
        if re.match(r"postgres(ql)?://", path):
            declared.variables["DATABASE_URL"] = path
            declared.variable_places["DATABASE_URL"] = "the address given"
            continue
        for file in _files(Path(path), declared):
            _read_file(file, declared, service)
    return declared


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
        if declared.old_file:
            raise CapsimError(f"{source}: {declared.old_file} was read already; the platform reads one of them")
        data = (json_table if name.endswith(".json") else toml_table)(text_of(path), source)
        declared.old, declared.old_file = tables_of(data, source), source
        if data.get("environments"):
            declared.notes.append(f"{source}: environments: blocks for single environments are not applied")
    elif name.endswith(".ts"):
        if declared.new_file:
            raise CapsimError(f"{source}: {declared.new_file} was read already; the platform reads one of them")
        declared.new, declared.new_file = typescript(text_of(path), source, service, declared.notes), source
    elif name.startswith(".env") or name.endswith(".env"):
        for key, value, line in variables_of(text_of(path), source):
            declared.variables[key] = value
            declared.variable_places[key] = f"{source}:{line}"
    elif name.startswith("Dockerfile"):
        declared.dockerfile, declared.dockerfile_name = dockerfile(text_of(path), source), source
    else:
        known = ", ".join(KNOWN)
        raise CapsimError(f"{source}: is of no known kind; give {known}, a folder or a postgresql:// address")
