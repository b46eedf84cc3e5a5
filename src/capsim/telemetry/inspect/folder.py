"""The service's folder, as far as it was given: files by their path in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from posixpath import normpath

from capsim.base.errors import CapsimError
from capsim.telemetry.inspect.declared import Declared, FolderFile


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
