"""From the words of one command down to the programs that it starts: wrappers, shells and package managers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from capsim.base.errors import CapsimError
from capsim.telemetry.inspect import programs
from capsim.telemetry.inspect.node_options import UNREAD, arguments
from capsim.telemetry.inspect.package_scripts import ScriptCall, asked, joined
from capsim.telemetry.inspect.process_tree import Position, stays
from capsim.telemetry.inspect.shell_state import ShellState, StartContainer
from capsim.telemetry.inspect.started import Started, name_of
from capsim.telemetry.inspect.wrappers import SAME, WRAPPERS, unwrapped

_DEEPEST = 12  # scripts and shells that start others
_VALUED = (  # of concurrently
    "-n", "--names", "-c", "--prefix-colors", "-p", "--prefix", "-s", "--success", "-m", "--max-processes", "-l",
    "--restart-tries", "--restart-after", "--name-separator", "--prefix-length", "--kill-signal",
)  # fmt: skip


@dataclass(frozen=True)
class Chain:
    """The processes above a command, process 1 first; ``shell`` is the one that exec would replace."""

    above: tuple[str, ...] = ()
    shell: str | None = None

    @property
    def all(self) -> tuple[str, ...]:
        """With the shell."""
        return self.above if self.shell is None else (*self.above, self.shell)

    def within(self) -> Chain:
        """For what a shell starts in a process of its own, which exec replaces instead."""
        return Chain(self.all, None)

    def under(self, *names: str) -> Chain:
        """With processes more."""
        return Chain((*self.all, *names), None)


class ReadsText(Protocol):
    """What reads the texts on the way, as `capsim.telemetry.inspect.shell.Reader` does."""

    container: StartContainer
    source: str

    def text(
        self,
        command: str,
        state: ShellState,
        above: tuple[str, ...],
        shell: str,
        trail: tuple[str, ...],
        *,
        ends: bool = True,
    ) -> list[Started]:
        """What a text comes to."""


class Follower:
    """Follows commands; the texts on the way go back to the reader."""

    def __init__(self, reader: ReadsText) -> None:
        self.reader = reader

    def changed(self, folder: str | None, words: list[str]) -> str | None:
        """The folder after ``cd``."""
        plain = [word for word in words if word not in ("--", "-P", "-L")]
        return joined(folder, plain[0], self.reader.container.root) if len(plain) == 1 else None

    def follow(self, words: tuple[str, ...], state: ShellState, chain: Chain, trail: tuple[str, ...]) -> list[Started]:
        """What a command starts in the end."""
        if len(trail) > _DEEPEST:
            raise CapsimError(f"{self.reader.source}: scripts start others more than {_DEEPEST} deep; name the server")
        if words and words[0] == "exec":
            words, chain = words[1:], Chain(chain.above, None)
            while words and words[0].startswith("-"):
                words = words[2 if words[0] == "-a" else 1 :]
        if not words:
            return []
        name = name_of(words[0])
        if SAME.get(name, name) in WRAPPERS:
            return self._wrapped(name, words, state, chain, trail)
        if name in programs.SHELLS:
            return self._shell(name, words, state, chain, trail)
        if name in programs.MANAGERS:
            return self._manager(name, words, state, chain, trail)
        if name == "corepack" and len(words) > 1 and name_of(words[1]) in programs.MANAGERS:
            return self.follow(words[1:], state, chain, trail)
        if name == "concurrently":
            return self._side_by_side(words, state, chain, trail)
        if name in ("node", "nodejs") and (script := arguments(words[1:]).runs) is not None:
            return self._script(ScriptCall(script=script), state.folder, "node --run", words, state, chain, trail)
        if name.endswith(".sh"):
            return self._file(words, "", state, chain, trail)
        return [Started(words, state.env, chain.all)]

    def _wrapped(
        self, name: str, words: tuple[str, ...], state: ShellState, chain: Chain, trail: tuple[str, ...]
    ) -> list[Started]:
        inner = unwrapped(name, words[1:])
        if inner is None or not (inner.words or inner.text):
            return [Started(words, state.env, chain.all, step=True)]
        own = state.copy()
        own.env = inner.env(own.env)
        if inner.folder is not None:
            own.folder = joined(own.folder, inner.folder, self.reader.container.root)
        below = chain if inner.above is None else chain.under(inner.above)
        if inner.text is not None:
            return self._text(inner.text, own, below, trail)
        if name in ("npx", "cross-env-shell"):  # both start what follows by /bin/sh -c
            below = self._by_shell(below)
        return self.follow(inner.words, own, below, (*trail, name))

    def _by_shell(self, chain: Chain) -> Chain:
        shell = self.reader.container.shell("sh")
        return chain.under(shell) if stays(shell, Position()) else chain.within()

    def _text(
        self, text: str, state: ShellState, chain: Chain, trail: tuple[str, ...], name: str = "sh"
    ) -> list[Started]:
        shell = self.reader.container.shell(name)
        return self.reader.text(text, state, chain.all, shell, (*trail, name))

    def _shell(
        self, name: str, words: tuple[str, ...], state: ShellState, chain: Chain, trail: tuple[str, ...]
    ) -> list[Started]:
        left = list(words[1:])
        while left and left[0].startswith(("-", "+")):
            option = left.pop(0)
            if re.fullmatch(r"-[a-z]*c", option):
                text = _with_arguments(left[0], left[2:]) if left else ""  # the word after the text is its $0
                return self._text(text, state.copy(), chain, trail, name) if text else []
            if option in ("-o", "+o", "-O") and left:
                left.pop(0)
        return self._file((left[0], *left[1:]), name, state, chain, trail) if left else []

    def _file(
        self, words: tuple[str, ...], shell: str, state: ShellState, chain: Chain, trail: tuple[str, ...]
    ) -> list[Started]:
        """A script file: read if it was given; its shell stays above all that it does not exec."""
        container = self.reader.container
        start = state.folder if "/" in words[0] or shell else ""
        path = joined(start, words[0], container.root)
        text = container.packages.look(path) if path else None
        if text is None and container.node_image and words[0] == "docker-entrypoint.sh":
            return self._node_image(words[1:], state, chain, trail)
        if text is None or words[0] in trail:
            return [Started(words if not shell else (shell, *words), state.env, chain.all)]
        first = text.split("\n", 1)[0]
        named = re.match(r"#!\s*\S*/(?:env\s+)?(\w+)", first)
        kind = container.shell(shell or (named[1] if named else "sh"))
        text = _with_arguments(text.replace("\r\n", "\n"), words[1:])
        return self.reader.text(text, state.copy(), chain.all, kind, (*trail, words[0]), ends=False)

    def _node_image(
        self, words: tuple[str, ...], state: ShellState, chain: Chain, trail: tuple[str, ...]
    ) -> list[Started]:
        """The entrypoint of the official image: it execs the command, or node with it where that is an option."""
        if words and words[0].startswith("-"):
            words = ("node", *words)
        return self.follow(words or ("node",), state, chain, (*trail, "entrypoint"))

    def _manager(
        self, name: str, words: tuple[str, ...], state: ShellState, chain: Chain, trail: tuple[str, ...]
    ) -> list[Started]:
        request = asked(name, words[1:])
        itself = [Started(words, state.env, chain.all, step=request.step)]
        if request.step or (request.script is None and not request.program):
            return itself
        if request.script is None:
            if request.program[0] == "bun" and name == "bun":
                return [Started(("bun", *request.program[1:]), state.env, chain.all)]
            below = chain.under(name)
            return self.follow(
                request.program, state, self._by_shell(below) if name == "npm" else below, (*trail, name)
            )
        folder = None if request.folder is None else joined(state.folder, request.folder, self.reader.container.root)
        if request.name is not None and folder is not None:
            folder = self.reader.container.packages.folder_of(request.name)
        return self._script(request, folder, name, words, state, chain, trail)

    def _script(
        self,
        request: ScriptCall,
        folder: str | None,
        manager: str,
        words: tuple[str, ...],
        state: ShellState,
        chain: Chain,
        trail: tuple[str, ...],
    ) -> list[Started]:
        """A script of a package.json; the manager itself where that was not given."""
        script = request.script or ""
        scripts = None if folder is None else self.reader.container.packages.scripts(folder)
        below, own = chain.under(manager), state.copy()
        own.folder = folder
        if scripts is None or script not in scripts:
            first = name_of(request.program[0]) if request.program else ""
            if scripts is not None and script == "start" and manager in ("npm", "pnpm"):
                return [Started(("node", "server.js"), state.env, below.all)]  # what they do without such a script
            known = programs.is_node(first) or programs.is_chore(first) or first in programs.OTHERS
            if manager != "npm" and known and first not in programs.MANAGERS and "run" not in words[:3]:
                return self.follow(request.program, own, below, (*trail, manager))
            return [Started(words, state.env, chain.all)]
        here = f"{folder}:{script}"
        if here in trail:
            raise CapsimError(f"{self.reader.source}: scripts call each other without end; name the server's command")
        shell = self.reader.container.shell("sh")
        found: list[Started] = []
        if f"pre{script}" in scripts and manager != "node --run":
            found += self.reader.text(
                scripts[f"pre{script}"], own.copy(), below.all, shell, (*trail, here, f"pre{here}")
            )
            found = [Started(step.words, step.env, step.above, step=True) for step in found]
        return found + self.reader.text(scripts[script], own, below.all, shell, (*trail, here))

    def _side_by_side(
        self, words: tuple[str, ...], state: ShellState, chain: Chain, trail: tuple[str, ...]
    ) -> list[Started]:
        """The commands of ``concurrently``."""
        found: list[Started] = []
        left = list(words[1:])
        while left:
            word = left.pop(0)
            if word.startswith("-"):
                left = left[1:] if word in _VALUED else left
                continue
            short = re.match(r"(npm|pnpm|yarn|bun):(.+)", word)
            text = f"{short[1]} run {short[2]}" if short else word
            steps = self._text(text, state.copy(), chain.under("concurrently"), trail) if UNREAD not in text else []
            found += [Started(step.words, step.env, step.above, beside=True, step=step.step) for step in steps]
        return found or [Started(words, state.env, chain.all)]


def _with_arguments(text: str, words: Sequence[str]) -> str:
    """A script with the words that it is called with."""
    return re.sub(r'"?\$[@*]"?', lambda match: shlex.join(words), text)
