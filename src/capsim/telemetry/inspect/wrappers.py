"""Programs whose arguments are another program: which they replace themselves by, and which stay above it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Wrapper:
    """How the words of a wrapper are read."""

    stays: bool = True  # above what it starts
    valued: tuple[str, ...] = ()  # options whose value is a word of its own
    verb: str | None = None  # a word that comes first
    skipped: int = 0  # words before the command that are no options: a user, a duration
    assigns: bool = False  # NAME=VALUE before the command
    text: tuple[str, ...] = ()  # options whose value is a text for a shell


_BECOMES = Wrapper(stays=False)
_NPX = Wrapper(valued=("-p", "--package", "--loglevel", "--registry"), text=("-c", "--call"))
WRAPPERS = {
    "command": _BECOMES,
    "builtin": _BECOMES,
    "nohup": _BECOMES,
    "setsid": _BECOMES,
    "time": replace(_BECOMES, valued=("-f", "-o")),
    "nice": replace(_BECOMES, valued=("-n", "--adjustment")),
    "ionice": replace(_BECOMES, valued=("-c", "-n", "-t")),
    "chrt": replace(_BECOMES, skipped=1),
    "taskset": replace(_BECOMES, skipped=1),
    "stdbuf": replace(_BECOMES, valued=("-i", "-o", "-e")),
    "su-exec": replace(_BECOMES, skipped=1),
    "gosu": replace(_BECOMES, skipped=1),
    "setpriv": replace(_BECOMES, valued=("--reuid", "--regid", "--groups")),
    "env": replace(_BECOMES, valued=("-u", "--unset", "-C", "--chdir"), assigns=True),
    "timeout": Wrapper(valued=("-s", "--signal", "-k", "--kill-after"), skipped=1),
    "tini": Wrapper(valued=("-e", "-p")),
    "dumb-init": Wrapper(valued=("-r", "--rewrite")),
    "catatonit": Wrapper(),
    "cross-env": Wrapper(assigns=True),
    "cross-env-shell": Wrapper(assigns=True),
    "dotenv": Wrapper(valued=("-e", "-v", "-p", "-f"), assigns=True),
    "dotenvx": Wrapper(valued=("-f", "-fk", "--env", "-e", "--env-file", "--convention"), verb="run"),
    "env-cmd": Wrapper(valued=("-f", "--file", "-e", "--environments", "-r", "--rc-file")),
    "doppler": Wrapper(
        valued=("-p", "--project", "-c", "--config", "-t", "--token", "--mount", "--name-transformer"),
        verb="run",
        text=("--command",),
    ),
    "infisical": Wrapper(valued=("--env", "-e", "--path", "--projectId", "--token"), verb="run", text=("--command",)),
    "op": Wrapper(valued=("--env-file", "--account"), verb="run"),
    "npx": _NPX,
    "pnpx": _NPX,
    "bunx": _NPX,
}
SAME = {"tini-static": "tini", "docker-init": "tini", "dotenv-cli": "dotenv", "gnutimeout": "timeout"}


@dataclass(frozen=True)
class Unwrapped:
    """What a wrapper starts."""

    above: str | None  # the wrapper itself, if it stays
    words: tuple[str, ...] = ()
    text: str | None = None  # for a shell, instead of words
    env: Callable[[dict[str, str]], dict[str, str]] = dict  # the environment that it passes on
    folder: str | None = None  # into which it changes


def unwrapped(name: str, words: tuple[str, ...]) -> Unwrapped | None:
    """Take a wrapper off the words behind it; None where it starts nothing (``doppler login``).

    Examples
    --------
    >>> found = unwrapped("tini", ("-g", "--", "node", "a.js"))
    >>> found.above, found.words
    ('tini -g', ('node', 'a.js'))
    """
    name = SAME.get(name, name)
    wrapper = WRAPPERS[name]
    left, shown = list(words), name
    given: dict[str, str] = {}
    taken: list[str] = []
    fresh, folder, text = False, None, None
    if wrapper.verb is not None:
        while left and left[0].startswith("-"):
            left = left[2 if left[0] in wrapper.valued else 1 :]
        if not left or left.pop(0) != wrapper.verb:
            return None
    while left:
        word = left[0]
        option, equals, value = word.partition("=")
        if word == "--":
            left.pop(0)
            break
        if wrapper.assigns and re.match(r"[A-Za-z_]\w*=", word):
            given[option] = value
            left.pop(0)
        elif not word.startswith("-"):
            break
        else:
            left.pop(0)
            value = value if equals else left.pop(0) if option in (*wrapper.valued, *wrapper.text) and left else ""
            if option in wrapper.text:
                text = value
            elif (name, option) in (("tini", "-g"), ("dumb-init", "-c"), ("dumb-init", "--single-child")):
                shown = "dumb-init -c" if name == "dumb-init" else "tini -g"
            elif name == "env":
                fresh = fresh or word in ("-", "-i", "--ignore-environment")
                taken += [value] if option in ("-u", "--unset") else []
                folder = value if option in ("-C", "--chdir") else folder
                left = [*value.split(), *left] if option in ("-S", "--split-string") and equals else left
            elif name == "dotenv" and option == "-v" and "=" in value:
                given[value.partition("=")[0]] = value.partition("=")[2]
    if wrapper.assigns:  # also after --
        while left and re.match(r"[A-Za-z_]\w*=", left[0]):
            key, _, value = left.pop(0).partition("=")
            given[key] = value
    left = left[wrapper.skipped :]

    def env(old: dict[str, str]) -> dict[str, str]:
        kept = {} if fresh else {key: value for key, value in old.items() if key not in taken}
        return kept | given

    return Unwrapped(shown if wrapper.stays else None, tuple(left), text, env, folder)
