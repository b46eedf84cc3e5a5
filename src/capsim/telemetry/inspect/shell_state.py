"""Where a start command is run, and what the shell knows while it is read."""

from __future__ import annotations

from dataclasses import dataclass, field

from capsim.telemetry.inspect.package_scripts import Packages
from capsim.telemetry.inspect.process_tree import NO_SHELL, UNKNOWN_SHELL


@dataclass(frozen=True)
class StartContainer:
    """Where a start command is run."""

    sh: str = "dash"  # what /bin/sh is there
    packages: Packages = field(default_factory=Packages)
    node_image: bool = False  # its docker-entrypoint.sh replaces itself by the command
    root: str = "/app"  # where the service's root folder is in it
    folder: str | None = ""  # from the root, where the command is run; None: not known

    def shell(self, name: str) -> str:
        """Which shell stands behind a name."""
        if name in ("bash", "dash", "ash"):
            return name
        return self.sh if name == "sh" and self.sh != NO_SHELL else UNKNOWN_SHELL


@dataclass
class ShellState:
    """What commands leave behind for those after them."""

    env: dict[str, str]
    shell: dict[str, str] = field(default_factory=dict)
    folder: str | None = ""  # from the service's root; None: not known

    def copy(self) -> ShellState:
        """For a part that changes only its own."""
        return ShellState(dict(self.env), dict(self.shell), self.folder)
