"""What the files together declare, before the platform's rules are applied, and the service's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import normpath
from typing import Any

from capsim.base.errors import CapsimError
from capsim.telemetry.inspect.railway_file import RailwayFile
from capsim.telemetry.inspect.unknown import Unknown

LOCK_FILES = (  # by them a builder chooses the package manager
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "bun.lock",
    "bun.lockb",
)
_LARGEST_BYTES = 1 << 20


@dataclass(frozen=True)
class FolderFile:
    """A further file of the folder: its text, and its name for messages."""

    text: str
    source: str


@dataclass
class Declared:
    """What all files together say.

    A further file is looked up by its path in the service's folder (`further`): Procfile, railpack.json, nixpacks.toml,
    the Dockerfile or package.json of a folder below. Files named one by one are found by their names.
    """

    old: RailwayFile | None = None  # railway.json or .toml
    old_file: str | None = None
    new: dict[str, Any] = field(default_factory=dict)  # railway.ts, in the same words (`railway_ts`)
    new_file: str | None = None
    variables: dict[str, str | Unknown] = field(default_factory=dict)
    variable_places: dict[str, str] = field(default_factory=dict)
    package: dict[str, Any] = field(default_factory=dict)  # package.json, all of it
    package_file: str | None = None
    lock_files: tuple[str, ...] = ()  # names of `LOCK_FILES` that the folder holds; they are not opened
    dockerfile_name: str | None = None
    environment: str | None = None  # the one asked for
    folders: list[Path] = field(default_factory=list)  # those given
    named: dict[str, Path] = field(default_factory=dict)  # files given one by one, by name

    @property
    def scripts(self) -> Mapping[str, str]:
        """Scripts of package.json."""
        scripts = self.package.get("scripts")
        return {k: v for k, v in scripts.items() if isinstance(v, str)} if isinstance(scripts, dict) else {}

    def variable(self, name: str) -> str | None:
        """A variable of the service, or None if it is not set or was not read."""
        value = self.variables.get(name)
        return value if isinstance(value, str) else None

    def dependency(self, name: str) -> str | None:
        """The version range of a package that package.json depends on (``^7.3.0``); None if it does not."""
        for table in ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies"):
            packages = self.package.get(table)
            if isinstance(packages, dict) and isinstance(packages.get(name), str):
                return str(packages[name])
        return None

    def further(self, path: str) -> FolderFile | None:
        """A file by its path below the service's folder, or None if it is not there; never one outside of it."""
        for folder in self.folders:
            file = folder / path
            if file.is_file() and file.resolve().is_relative_to(folder.resolve()):
                return FolderFile(text_of(file), str(file))
        named = self.named.get(path)
        return FolderFile(text_of(named), str(named)) if named else None


def text_of(path: Path) -> str:
    """The text of a configuration file.

    Raises
    ------
    CapsimError
        If it cannot be read, is larger than 1 MiB, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise CapsimError(f"{path}: cannot be read ({error.strerror}); give a readable file") from None
    if len(content) > _LARGEST_BYTES:
        raise CapsimError(f"{path}: larger than 1 MiB, so it is no configuration; give another file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CapsimError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from None


@dataclass(frozen=True)
class Folder:
    """Looks up files; each is read once at most, and none outside of the folder."""

    find: Callable[[str], FolderFile | None]
    locks: tuple[str, ...] = ()  # names of lock files that are there
    dockerfile: str | None = None  # name of one that was given
    _found: dict[str, FolderFile | None] = field(default_factory=dict)

    @classmethod
    def of(cls, declared: Declared) -> Folder:
        """The folder of what was declared."""
        return cls(declared.further, declared.lock_files, declared.dockerfile_name)

    @classmethod
    def holding(cls, texts: Mapping[str, str]) -> Folder:
        """A folder that is nowhere but here.

        Examples
        --------
        >>> Folder.holding({"a/package.json": "{}"}).look("a/package.json")
        '{}'
        """
        return cls(lambda path: FolderFile(texts[path], path) if path in texts else None)

    def _file(self, path: str) -> FolderFile | None:
        if path not in self._found:
            fits = "\0" not in path and len(path) < 1_000 and not path.startswith(("/", ".."))
            self._found[path] = self.find(path) if fits else None
        return self._found[path]

    def look(self, path: str) -> str | None:
        """The text of a file; None if it was not given.

        Raises
        ------
        CapsimError
            If it is no text or too large for a configuration.
        """
        found = self._file(path)
        return found.text if found else None

    def has(self, path: str) -> bool:
        """Whether a file is there, whatever it holds."""
        try:
            return path in self.locks or self._file(path) is not None
        except CapsimError:
            return True

    def below(self, base: str) -> Callable[[str], str | None]:
        """Look up from a folder further down."""
        return lambda path: self.look(normpath(f"{base}/{path}") if base else path)

    def shown(self, path: str) -> str:
        """A path as it is told."""
        found = self._file(path)
        return found.source if found else path
