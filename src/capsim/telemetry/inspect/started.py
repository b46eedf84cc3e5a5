"""A command that a start command comes to, and which of several is the server."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from capsim.telemetry.inspect import programs
from capsim.telemetry.inspect.node_options import UNREAD, HeapCap, arguments, heap_cap, semi_space_mib
from capsim.telemetry.inspect.process_tree import keeper, reaches


@dataclass(frozen=True)
class Started:
    """A command that the start command comes to, with the environment that it gets."""

    words: tuple[str, ...]
    env: Mapping[str, str]
    above: tuple[str, ...] = ()  # processes that stay above it, process 1 first
    if_failed: bool = False  # runs only if what stands before || fails
    beside: bool = False  # runs while the next command starts
    step: bool = False  # ends by itself, whatever it is called

    @property
    def program(self) -> str:
        """Name of the program, without its folder."""
        return name_of(self.words[0]) if self.words else ""

    @property
    def serves(self) -> bool:
        """Whether this is a program that can be a server, rather than a step before it."""
        return not (self.step or programs.is_chore(self.program))

    @property
    def is_node(self) -> bool:
        """Whether it is written in Node, so that its heap has a cap by NODE_OPTIONS."""
        return programs.is_node(self.program)

    @property
    def told(self) -> str:
        """The command for people: words that cannot be a secret, of programs that are known."""
        shown = programs.shown(self.program, self.words)
        if self.program in (*programs.TAKES_NODE_OPTIONS, "ts-node", "bun", "deno"):
            script = self._script()
            return f"{shown} {script}" if script and re.fullmatch(r"[\w-]*[./][\w./-]*", script) else shown
        return shown

    def _script(self) -> str | None:
        if self.program in ("bun", "deno"):
            return next((word for word in self.words[1:] if re.search(r"\.[cm]?[jt]sx?$", word)), None)
        return arguments(self.words[1:]).script

    @property
    def heap_cap(self) -> HeapCap:
        """What the options that this process gets say about its heap; unknown where it is no Node program."""
        if not self.is_node:
            return HeapCap(known=False)
        own = arguments(self.words[1:]).options if self.program in programs.TAKES_NODE_OPTIONS else ()
        return heap_cap(self.env.get("NODE_OPTIONS", ""), own)

    @property
    def semi_space_mib(self) -> int | None:
        """--max-semi-space-size that it gets [MiB]; None where no option says it."""
        own = arguments(self.words[1:]).options if self.program in programs.TAKES_NODE_OPTIONS else ()
        return semi_space_mib(self.env.get("NODE_OPTIONS", ""), own) if self.is_node else None

    @property
    def cap_given(self) -> int | None:
        """The cap of a step, whatever it is: NODE_OPTIONS is for all that is written in Node."""
        return heap_cap(self.env.get("NODE_OPTIONS", ""), ()).mib

    @property
    def sigterm(self) -> bool | None:
        """Whether SIGTERM to process 1 reaches it; None where that is not known."""
        reached = reaches(self.above)
        apart = self.program in programs.STARTERS or "--watch" in self.words  # the server is a process below it
        if reached is not False and (apart or not self.is_node):
            return None
        return reached

    @property
    def keeps_sigterm(self) -> str | None:
        """The process above it that keeps SIGTERM, or may keep it."""
        return keeper(self.above)

    @property
    def process_1(self) -> str:
        """What has the process number 1, for people."""
        return self.above[0] if self.above else programs.shown(self.program, self.words[:1])


def main_of(started: Sequence[Started]) -> Started | None:
    """The command that stays: the last that is no step and does not wait for another to fail; None if it is not clear.

    Examples
    --------
    >>> steps = [Started(("prisma", "migrate", "deploy"), {}), Started(("node", "a.js"), {}), Started(("echo",), {})]
    >>> main_of(steps).told
    'node a.js'
    """
    serving = [step for step in started if step.serves]
    front = [step for step in serving if not step.beside]
    if not front and len(serving) > 1:
        return None  # several side by side
    left = front or serving
    return next((step for step in reversed(left) if not step.if_failed), left[-1] if left else None)


def server_of(started: Sequence[Started]) -> Started | None:
    """The command that is the server, if it is a Node program whose start is fully known."""
    main = main_of(started)
    known = main is not None and main.is_node and main.program not in programs.SEVERAL
    return main if known else None


def unshelled(words: Sequence[str]) -> bool:
    """Whether words that no shell reads hold what only a shell would understand, as words of their own.

    Examples
    --------
    >>> unshelled(["node", "a.js", "&&", "echo"]), unshelled(["nginx", "-g", "daemon off;"])
    (True, False)
    """
    if len(words) > 1 and any(name_of(word) in programs.SHELLS for word in words[:-1]):
        return False
    operators = ("&&", "||", ";", "|", "&", ">", ">>", "<", "2>&1")
    return bool(words and re.match(r"\w+=", words[0])) or any(
        word in operators or (not re.search(r"\s", word) and re.search(r"\$\w|\$\{|[^\\];$", word)) for word in words
    )


def name_of(word: str) -> str:
    """The name of a program without folder and version."""
    name = word.rstrip("/").rpartition("/")[2]
    at = re.match(r"([\w.+-]+)@[\w.^~-]+$", name)
    name = at[1] if at else name
    return {"dotenv-cli": "dotenv", "cli": "nest" if "@nestjs" in word else "cli"}.get(name, name) or UNREAD
