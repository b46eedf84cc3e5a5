"""What a start command really starts: read as the shell would read it, and never run.

A variable set before one command belongs to that command only, `export` to all that follow; a package manager runs
the script that its `package.json` names. The grammar is tree-sitter's for bash, whose licence (MIT) is ours.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from capsim.base.errors import CapsimError
from capsim.telemetry.inspect.grammar import parsed, shallow
from capsim.telemetry.inspect.node_options import UNREAD
from capsim.telemetry.inspect.process_tree import UNKNOWN_SHELL, Position, stays
from capsim.telemetry.inspect.shell_state import ShellState, StartContainer
from capsim.telemetry.inspect.started import Started
from capsim.telemetry.inspect.unwrap import Chain, Follower

if TYPE_CHECKING:
    from tree_sitter import Node

# Characters of a start command with everything that it expands to. The grammar takes a second for so many patterns, and
# four times as long for twice as many.
_MOST_READ = 10_000
_GROUPS = ("program", "list", "compound_statement", "redirected_statement", "negated_command", "subshell", "pipeline")
_NOTHING = ("comment", "file_redirect", "herestring_redirect", "heredoc_redirect", "file_descriptor", "heredoc_body")


def exec_form(words: Sequence[str], env: Mapping[str, str], source: str, container: StartContainer) -> list[Started]:
    """The one command of a start command that no shell reads (Dockerfile and image deployments).

    A package manager still runs its script in a shell.

    Examples
    --------
    >>> [step.told for step in exec_form(["dumb-init", "--", "node", "a.js"], {}, "Dockerfile: CMD", StartContainer())]
    ['node a.js']
    """
    with shallow(source):
        return Reader(container, source).follow(
            tuple(words), ShellState(dict(env), folder=container.folder), Chain(), ()
        )


def shell_form(
    command: str, env: Mapping[str, str], source: str, container: StartContainer, shell: str = "bash"
) -> list[Started]:
    """All commands that a start command comes to, in order.

    Parameters
    ----------
    command : str
        As in ``deploy.startCommand``.
    env : mapping
        Variables of the service.
    source : str
        File and key, for errors. The text itself is in no message: it may hold a secret.
    container : StartContainer
        What ``/bin/sh`` is, and the package.json files.
    shell : str
        The shell that reads it: Railpack's image has ``/bin/bash -c``, Nixpacks' is taken to.

    Raises
    ------
    CapsimError
        If the text is no shell command, or has loops, conditions or functions that only a run could resolve.

    Examples
    --------
    >>> from capsim.telemetry.inspect.package_scripts import table_of
    >>> steps = shell_form("NODE_OPTIONS='--max-old-space-size=512' npx prisma migrate deploy && npm start", {},
    ...                    "railway.json", StartContainer(packages=table_of({"start": "node dist/index.js"})))
    >>> [(step.told, step.heap_cap.mib, step.above) for step in steps]
    [('prisma migrate deploy', None, ('bash', 'npx', 'dash')), ('node dist/index.js', None, ('npm', 'dash'))]
    """
    with shallow(source):
        return Reader(container, source).text(
            command, ShellState(dict(env), folder=container.folder), (), container.shell(shell), ()
        )


class Reader:
    """Walks over the tree of a shell text; `Follower` takes each command on to what it starts."""

    def __init__(self, container: StartContainer, source: str) -> None:
        self.container, self.source = container, source
        self._left = _MOST_READ
        self._follower = Follower(self)

    def read(self, text: str) -> None:
        """Count what is read: A=$A$A doubles with every repeat, and so do scripts that call others twice."""
        self._left -= len(text)
        if self._left < 0:
            raise CapsimError(f"{self.source}: comes to more than {_MOST_READ:,} characters; name the server's command")

    def follow(self, words: tuple[str, ...], state: ShellState, chain: Chain, trail: tuple[str, ...]) -> list[Started]:
        """What the words of one command start."""
        return self._follower.follow(words, state, chain, trail)

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
        """What a text starts that ``shell`` reads; ``ends`` is false for a script file, whose end the shell reads."""
        self.read(command)
        root = parsed("bash", command)
        if root.has_error:
            raise CapsimError(f"{self.source}: is no shell command; check quotes, parentheses and operators")
        return self.node(root, state, Chain(above, shell), Position(last=ends), trail)

    def node(self, node: Node, state: ShellState, chain: Chain, at: Position, trail: tuple[str, ...]) -> list[Started]:
        """What a part of the text starts; changes ``state`` as the shell would."""
        if not node.is_named or node.type in _NOTHING:
            return []
        match node.type:
            case "variable_assignment" | "variable_assignments" | "declaration_command" | "unset_command":
                self._declare(node, state)
                return []
            case "command":
                return self._command(node, state, chain, at, trail)
            case "subshell":
                inside = chain if chain.shell == "ash" and at.last else chain.within()
                return self._parts(node, state.copy(), inside, at, trail)
            case "pipeline":
                return self._pipeline(node, state, chain.within(), trail)
            case "compound_statement":
                return self._parts(node, state, chain, replace(at, plain=False), trail)
            case "negated_command":
                return self._parts(node, state, chain, replace(at, last=False), trail)
            case "redirected_statement":
                return self._parts(node, state, chain, replace(at, redirected=True), trail)
            case name if name in _GROUPS:
                return self._parts(node, state, chain, at, trail)
        raise CapsimError(
            f"{self.source}: has a {node.type.replace('_', ' ')}, which only a run could resolve; "
            "use plain commands with &&, ||, ; and ( )"
        )

    def _parts(
        self, node: Node, state: ShellState, chain: Chain, at: Position, trail: tuple[str, ...]
    ) -> list[Started]:
        found: list[Started] = []
        parts = [part for part in node.children if part.type not in _NOTHING]
        last = max((number for number, part in enumerate(parts) if part.is_named), default=-1)
        if_failed = False
        for number, part in enumerate(parts):
            after = parts[number + 1].type if number + 1 < len(parts) else ""
            if after == "&" and part.is_named:
                at = replace(at, plain=False)
                steps = self.node(part, state.copy(), chain.within(), Position(last=False), trail)
                found += [replace(step, beside=True) for step in steps]
                continue
            steps = self.node(part, state, chain, replace(at, last=at.last and number == last), trail)
            found += [replace(step, if_failed=True) for step in steps] if if_failed else steps
            if_failed = part.type == "||" or (if_failed and part.type not in ("&&", ";", "\n"))
        return found

    def _pipeline(self, node: Node, state: ShellState, chain: Chain, trail: tuple[str, ...]) -> list[Started]:
        """Of commands side by side the first one that can be a server is what the others read from."""
        found: list[Started] = []
        for part in node.children:
            steps = self.node(part, state.copy(), chain, Position(last=False), trail)
            behind = any(step.serves and not step.beside for step in found)
            found += [replace(step, step=True) for step in steps] if behind else steps
        return found

    def _command(
        self, node: Node, state: ShellState, chain: Chain, at: Position, trail: tuple[str, ...]
    ) -> list[Started]:
        own = state.copy()
        words: list[str] = []
        for part in node.children:
            if part.type == "variable_assignment":
                name, value = self._assigned(part, state)
                own.env[name] = value
            elif "redirect" in part.type:
                at = replace(at, redirected=True)
            elif part.type != "file_descriptor":
                words += self._words(part, state)
        name = words[0] if words else ""
        if name in ("test", "[", "[["):
            raise CapsimError(f"{self.source}: has a condition, which only a run could resolve; name one server")
        if name == "cd":
            state.folder = self._follower.changed(state.folder, words[1:])
            return []
        if name == "eval":
            return self.text(" ".join(words[1:]), state, chain.above, chain.shell or UNKNOWN_SHELL, (*trail, "eval"))
        held = chain if chain.shell is None or stays(chain.shell, at) else Chain(chain.above, None)
        return self.follow(tuple(words), own, held, trail)

    def _declare(self, node: Node, state: ShellState) -> None:
        parts = [node] if node.type == "variable_assignment" else node.children
        exports = node.type == "declaration_command" and node.children[0].type in ("export", "declare", "typeset")
        for part in parts:
            if node.type == "unset_command":
                state.env.pop(_raw(part), None)
                state.shell.pop(_raw(part), None)
            elif part.type == "variable_assignment":
                name, value = self._assigned(part, state)
                (state.env if exports or name in state.env else state.shell)[name] = value  # stays exported if it was
            elif exports and (name := _raw(part)) in state.shell:
                state.env[name] = state.shell[name]

    def _assigned(self, node: Node, state: ShellState) -> tuple[str, str]:
        name, _, value = _raw(node).partition("=")
        text = " ".join(self._split(value, state, whole=True))
        return (name[:-1], state.env.get(name[:-1], "") + text) if name.endswith("+") else (name, text)

    def _words(self, node: Node, state: ShellState) -> list[str]:
        return self._split(_raw(node), state, whole=node.type in ("string", "raw_string"))

    def _split(self, text: str, state: ShellState, *, whole: bool) -> list[str]:
        if not text.startswith("'"):
            text = _expanded(text, state)
        self.read(text)
        try:
            words = shlex.split(text)
        except ValueError:
            words = [text]
        return [" ".join(words)] if whole else words


def _expanded(text: str, state: ShellState) -> str:
    """A word with its variables; what only a run would know is marked."""
    text = re.sub(r"\$\(\(.*?\)\)|\$\(.*\)|`[^`]*`", UNREAD, text, flags=re.DOTALL)

    def value(match: re.Match[str]) -> str:
        name, default = match[1] or match[3], match[2]
        found = state.shell.get(name, state.env.get(name))
        if found is not None and (found or default is None):
            return found
        # A service's NODE_OPTIONS is looked for in all files; other variables may be set where no file says so.
        return default if default is not None else "" if name == "NODE_OPTIONS" else UNREAD

    text = re.sub(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|([A-Za-z_]\w*))", value, text)
    return re.sub(r"\$\{[^}]*\}?|\$[0-9?#$!*@-]", UNREAD, text)


def _raw(node: Node) -> str:
    return (node.text or b"").decode()
