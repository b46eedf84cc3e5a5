"""What a start command really starts: read as the shell would read it, and never run.

A variable set before one command belongs to that command only, `export` to all that follow; a package manager runs
the script that its `package.json` names. The grammar is tree-sitter's for bash, whose licence (MIT) is ours.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from capsim.errors import CapsimError
from capsim.inspect.grammar import parsed, shallow
from capsim.inspect.plain import json_of

if TYPE_CHECKING:
    from tree_sitter import Node

MANAGERS = ("npm", "pnpm", "yarn", "bun")
SERVERS = ("node", "nodejs", "tsx", "ts-node", "nodemon")
SHELLS = ("sh", "bash", "dash", "ash")
INITS = ("tini", "dumb-init")  # process 1 that hands signals on
_WRAPPERS = ("exec", "command", "nohup", "time", "env", "cross-env", *INITS)
_DEEPEST = 8  # scripts that call scripts
# Characters of a start command with everything that it expands to. The grammar takes a second for so many patterns, and
# four times as long for twice as many.
_MOST_READ = 10_000
_READ = {
    "program",
    "list",
    "pipeline",
    "subshell",
    "compound_statement",
    "redirected_statement",
    "negated_command",
    "command",
    "declaration_command",
    "variable_assignment",
    "variable_assignments",
    "unset_command",
    "&&",
    "||",
    ";",
    "|",
    "|&",
    "&",
    "(",
    ")",
    "{",
    "}",
    "!",
    "\n",
    "comment",
    "file_redirect",
    "herestring_redirect",
}


@dataclass(frozen=True)
class Started:
    """A command that the start command comes to, with the environment that it gets."""

    words: tuple[str, ...]
    env: Mapping[str, str]
    above: tuple[str, ...] = ()  # processes that stay above it, process 1 first
    if_failed: bool = False  # runs only if what stands before || fails

    @property
    def program(self) -> str:
        """Name of the program, without its folder."""
        return PurePosixPath(self.words[0]).name if self.words else ""

    @property
    def serves(self) -> bool:
        """Whether this is a program that a server is written in, rather than a step before it."""
        return self.program in SERVERS

    @property
    def told(self) -> str:
        """The command for people: words that cannot be a secret, of programs that are known."""
        if self.program not in (*SERVERS, *MANAGERS, "npx", "prisma"):
            return "another program"
        words = [self.program]
        if self.program in SERVERS:
            script = [w for w in self.words[1:] if re.fullmatch(r"[\w./-]+\.[cm]?[jt]sx?", w)]
            return " ".join(words + script[:1])
        if self.program == "prisma":
            words += [w for w in self.words[1:3] if w in ("migrate", "deploy", "db", "push", "generate")]
        return " ".join(words)

    @property
    def heap_cap_mib(self) -> int | None:
        """--max-old-space-size as this process gets it: its own flag wins over NODE_OPTIONS, the last one of each."""
        options = self.env.get("NODE_OPTIONS", "").split()
        flags: list[str] = []
        for word in self.words[1:]:
            if not word.startswith("-"):
                break  # what follows the script is the script's
            flags.append(word)
        found = [
            match[1]
            for option in [*options, *flags]
            if (match := re.fullmatch(r"--max[-_]old[-_]space[-_]size=(\d{1,7})", option))
        ]
        return int(found[-1]) if found else None


def exec_form(command: str, env: Mapping[str, str], source: str, scripts: Mapping[str, str]) -> list[Started]:
    """The one command of a start command that no shell reads (Dockerfile and image deployments).

    A package manager still runs its script in a shell.
    """
    try:
        words = tuple(shlex.split(command))
    except ValueError:
        raise CapsimError(f"{source}: a quote is never closed; close it") from None
    with shallow(source):
        return _unwrapped(words, dict(env), scripts, (), source, 0) if words else []


def shell_form(command: str, env: Mapping[str, str], scripts: Mapping[str, str], source: str) -> list[Started]:
    """All commands that a start command comes to, in order.

    Parameters
    ----------
    command : str
        As in ``deploy.startCommand``.
    env : mapping
        Variables of the service.
    scripts : mapping
        ``scripts`` of package.json, which npm, pnpm, yarn and bun run.
    source : str
        File and key, for errors. The text itself is in no message: it may hold a secret.

    Raises
    ------
    CapsimError
        If the text is no shell command, or has loops, functions or substitutions that only a run could resolve.

    Examples
    --------
    >>> steps = shell_form("NODE_OPTIONS='--max-old-space-size=512' npx prisma migrate deploy && npm start", {},
    ...                    {"start": "node dist/index.js"}, "railway.json")
    >>> [(step.told, step.heap_cap_mib, step.above) for step in steps]
    [('prisma migrate deploy', 512, ('sh', 'npx')), ('node dist/index.js', None, ('sh', 'npm'))]
    """
    with shallow(source):
        return _Reader(scripts, source).text(command, dict(env), (), 0)


def server_of(started: list[Started]) -> Started | None:
    """The command that is the server: the last one that serves and does not wait for another to fail."""
    serving = [step for step in started if step.serves]
    return next((step for step in reversed(serving) if not step.if_failed), serving[-1] if serving else None)


class _Reader:
    def __init__(self, scripts: Mapping[str, str], source: str) -> None:
        self.scripts, self.source = scripts, source
        self._left = _MOST_READ

    def read(self, text: str) -> None:
        """Count what is read: A=$A$A doubles with every repeat, and so do scripts that call others twice."""
        self._left -= len(text)
        if self._left < 0:
            raise CapsimError(f"{self.source}: comes to more than {_MOST_READ:,} characters; name the server's command")

    def text(self, command: str, env: dict[str, str], above: tuple[str, ...], depth: int) -> list[Started]:
        if depth > _DEEPEST:
            raise CapsimError(f"{self.source}: scripts call each other without end; name the server's own command")
        self.read(command)
        root = parsed("bash", command)
        if root.has_error:
            raise CapsimError(f"{self.source}: is no shell command; check quotes, parentheses and operators")
        # A shell that has one command to run becomes it; one with several stays above them, unless told to exec.
        several = _commands(root) > 1
        inside = (*above, "sh") if several else above
        return self.node(root, env, {}, inside, depth)

    def node(
        self, node: Node, env: dict[str, str], shell: dict[str, str], above: tuple[str, ...], depth: int
    ) -> list[Started]:
        """What a part of the command starts; changes ``env`` and ``shell`` as the shell would."""
        if node.type not in _READ:
            raise CapsimError(
                f"{self.source}: has a {node.type.replace('_', ' ')}, which only a run could resolve; "
                "use plain commands with &&, ||, ; and ( )"
            )
        match node.type:
            case "variable_assignment" | "variable_assignments":
                parts = [node] if node.type == "variable_assignment" else node.children
                for name, value in (self.assigned(part, env, shell) for part in parts):
                    (env if name in env else shell)[name] = value  # stays exported if it was
                return []
            case "declaration_command":
                if node.children[0].type == "export":
                    for part in node.children[1:]:
                        if part.type == "variable_assignment":
                            name, value = self.assigned(part, env, shell)
                            env[name] = value
                        elif (name := _raw(part)) in shell:
                            env[name] = shell[name]
                return []
            case "unset_command":
                for part in node.children[1:]:
                    env.pop(_raw(part), None)
                    shell.pop(_raw(part), None)
                return []
            case "subshell":
                return self.children(node, dict(env), dict(shell), above, depth)
            case "pipeline":
                return [
                    step for part in node.children for step in self.node(part, dict(env), dict(shell), above, depth)
                ]
            case "command":
                return self.command(node, env, shell, above, depth)
        return self.children(node, env, shell, above, depth)

    def children(
        self, node: Node, env: dict[str, str], shell: dict[str, str], above: tuple[str, ...], depth: int
    ) -> list[Started]:
        found: list[Started] = []
        if_failed = False
        for part in node.children:
            steps = self.node(part, env, shell, above, depth)
            found += [replace(step, if_failed=True) for step in steps] if if_failed else steps
            if_failed = part.type == "||" or (if_failed and part.type not in ("&&", ";", "\n"))
        return found

    def command(
        self, node: Node, env: dict[str, str], shell: dict[str, str], above: tuple[str, ...], depth: int
    ) -> list[Started]:
        own = dict(env)
        words: list[str] = []
        for part in node.children:
            if part.type == "variable_assignment":
                name, value = self.assigned(part, env, shell)
                own[name] = value
            elif "redirect" not in part.type:
                words += self.words(part, env, shell)
        return _unwrapped(tuple(words), own, self.scripts, above, self.source, depth, self)

    def assigned(self, node: Node, env: Mapping[str, str], shell: Mapping[str, str]) -> tuple[str, str]:
        name, _, value = _raw(node).partition("=")
        return name.rstrip("+"), " ".join(self.split(value, env, shell, whole=True))

    def words(self, node: Node, env: Mapping[str, str], shell: Mapping[str, str]) -> list[str]:
        return self.split(_raw(node), env, shell, whole=node.type in ("string", "raw_string"))

    def split(self, text: str, env: Mapping[str, str], shell: Mapping[str, str], *, whole: bool) -> list[str]:
        if "$(" in text or "`" in text:
            return ["?"]  # the output of a command: not known without running it
        if not text.startswith("'"):
            text = re.sub(
                r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))",
                lambda m: shell.get(m[1] or m[3], env.get(m[1] or m[3], m[2] or "")),
                text,
            )
        self.read(text)
        try:
            words = shlex.split(text)
        except ValueError:
            words = [text]
        return [" ".join(words)] if whole else words


def _unwrapped(
    words: tuple[str, ...],
    env: dict[str, str],
    scripts: Mapping[str, str],
    above: tuple[str, ...],
    source: str,
    depth: int,
    reader: _Reader | None = None,
) -> list[Started]:
    """Follow wrappers, shells and package managers down to the programs that they start."""
    reader = reader or _Reader(scripts, source)
    while words and PurePosixPath(words[0]).name in (*_WRAPPERS, "npx"):
        program, words = PurePosixPath(words[0]).name, words[1:]
        if program == "exec":
            above = above[:-1] if above and above[-1] == "sh" else above
        elif program in (*INITS, "npx", "cross-env"):
            above = (*above, program)
        while words and (words[0].startswith("-") or (program in ("env", "cross-env") and "=" in words[0])):
            name, _, value = words[0].partition("=")
            if words[0] in ("-i", "-"):
                env = {}
            elif words[0] == "-u" and len(words) > 1:
                env.pop(words[1], None)
                words = words[1:]
            elif not name.startswith("-"):
                env = {**env, name: value}
            words = words[1:]
    if not words:
        return []
    program = PurePosixPath(words[0]).name
    flags = [number for number, word in enumerate(words) if number and re.fullmatch(r"-[a-z]*c", word)]
    if program in SHELLS and flags:
        inner = words[flags[0] + 1 : flags[0] + 2]
        return reader.text(inner[0], env, above, depth + 1) if inner else []
    script = _script(words[1:]) if program in MANAGERS else None
    if script is not None:
        if script == "start" and script not in scripts and program == "npm":
            return [Started(("node", "server.js"), env, (*above, program))]  # what npm does without such a script
        found: list[Started] = []
        for step in (f"pre{script}", script):
            if step in scripts:
                found += reader.text(scripts[step], dict(env), (*above, program), depth + 1)
        return found or [Started(words, env, above)]
    return [Started(words, env, above)]


def _script(words: tuple[str, ...]) -> str | None:
    """The script that a package manager is asked to run."""
    plain = [word for word in words if not word.startswith("-")]
    if plain[:1] in (["run"], ["run-script"]):
        plain = plain[1:]
    return plain[0] if plain and plain[0] not in ("install", "ci", "exec", "add") else None


def scripts_of(text: str, source: str) -> dict[str, str]:
    """The scripts of a package.json."""
    data = json_of(text, source)
    scripts = data.get("scripts", {}) if isinstance(data, dict) else None
    if not isinstance(scripts, dict) or not all(isinstance(value, str) for value in scripts.values()):
        raise CapsimError(f"{source}: scripts is no table of commands; write each as a text")
    return scripts


def _commands(node: Node) -> int:
    """How many commands a tree has."""
    if node.type in ("command", "subshell"):
        return 1 if node.type == "command" else 1 + sum(_commands(child) for child in node.children)
    return sum(_commands(child) for child in node.children)


def _raw(node: Node) -> str:
    return (node.text or b"").decode()
