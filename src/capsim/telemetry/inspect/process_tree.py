"""Which processes stay above a server, and which of them pass SIGTERM on to it.

Run here on 2026-12-01: dash 0.5.12 and bash 5.2.15 (Debian 12), busybox 1.35, npm 11.19, tini 0.19, dumb-init 1.2.5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from capsim.telemetry.inspect.programs import MANAGERS

UNKNOWN_SHELL = "sh"  # a /bin/sh of which it is not known what it is
NO_SHELL = "no shell"
GROUP_INIT = "dumb-init"  # signals the whole process group, as `tini -g` does
_INITS = (GROUP_INIT, "tini -g")
_PASS_ON = ("tini", "dumb-init -c", "cross-env")  # to the one process that they start
_KEEP = ("dash", "bash", "ash", "cross-env-shell")

# /bin/sh by image, from the first match; the tag decides before the name.
_IMAGES = (
    (r"scratch$|distroless", NO_SHELL),
    (r"alpine|busybox", "ash"),
    (r"fedora|rockylinux|almalinux|amazonlinux|centos|/ubi\d|oraclelinux|archlinux|public\.ecr\.aws/lambda", "bash"),
    (r"debian|ubuntu|bookworm|bullseye|buster|trixie|noble|jammy|focal|slim$|-slim", "dash"),
    (
        r"(?:^|/)(?:node|bun|deno|python|golang|ruby|php|rust|openjdk|eclipse-temurin|maven|gradle|nginx|httpd|redis|"
        r"postgres|buildpack-deps|playwright|puppeteer|nixpacks|railpack-runtime)(?:[:@]|$)",
        "dash",
    ),
)


def shell_of(image: str | None) -> str:
    """What ``/bin/sh`` is in an image: dash, ash (busybox), bash, `NO_SHELL`, or `UNKNOWN_SHELL`.

    Examples
    --------
    >>> [shell_of(image) for image in ("node:20", "node:22-alpine", "gcr.io/distroless/nodejs20", "mine/base")]
    ['dash', 'ash', 'no shell', 'sh']
    """
    name = (image or "").lower()
    return next((shell for pattern, shell in _IMAGES if re.search(pattern, name)), UNKNOWN_SHELL)


@dataclass(frozen=True)
class Position:
    """Where in a shell's text a command stands."""

    last: bool = True  # nothing is left to do after it
    plain: bool = True  # not in parentheses, braces, after ! or beside a background job
    redirected: bool = False


def stays(shell: str, at: Position) -> bool:
    """Whether a shell stays above a command that it was not told to exec (an unknown one is taken to stay).

    dash always stays. bash becomes the last command of a list, unless its output goes elsewhere or a bracket, a pipe
    or a job in the background is around. busybox' ash becomes whatever command comes last.
    """
    if shell == "ash":
        return not at.last
    if shell == "bash":
        return not (at.last and at.plain and not at.redirected)
    return True


def reaches(above: Sequence[str]) -> bool | None:
    """Whether SIGTERM to the first process comes to the one below them all; None where that is not known.

    Package managers pass it to the shell that they start, in the versions tried; others keep it (facts: railway §4).
    So under one whose shell is gone it is not known.

    Examples
    --------
    >>> reaches(()), reaches(("npm", "dash")), reaches(("npm",)), reaches(("dumb-init", "npm", "dash"))
    (True, False, None, True)
    """
    first = next((place for place, name in enumerate(above) if name in _INITS), len(above))
    if any(name in _KEEP for name in above[:first]):
        return False
    return True if all(name in _PASS_ON for name in above[:first]) else None


def keeper(above: Sequence[str]) -> str | None:
    """The process of which it is told that SIGTERM ends there; None where it is passed on by all.

    A package manager is named before the shell that it started, since it is what can be taken away.
    """
    if reaches(above):
        return None
    keep = [name for name in above if name not in (*_PASS_ON, *_INITS)]
    return next((name for name in keep if name in (*MANAGERS, "npx")), keep[0])
