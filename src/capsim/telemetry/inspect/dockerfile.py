"""A Dockerfile as Docker reads it: the environment and the command of its last stage."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from posixpath import normpath

from capsim.telemetry.inspect.node_options import UNREAD
from capsim.telemetry.inspect.process_tree import shell_of

_INSTRUCTIONS = frozenset((
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
    "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
))  # fmt: skip


@dataclass(frozen=True)
class Command:
    """ENTRYPOINT or CMD: words as they are, or a text for a shell."""

    words: tuple[str, ...] = ()
    text: str | None = None
    line: int = 0


@dataclass(frozen=True)
class Stage:
    """What a stage leaves behind for an image, or for a stage that begins with it."""

    image: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Command | None = None
    command: Command | None = None
    own_command: bool = False  # CMD stands in this stage
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    folder: str | None = ""  # WORKDIR from the first one, which is taken for the service's root
    root: str | None = None
    copied: tuple[str, ...] = ()  # names of files that COPY and ADD bring in
    package: str | None = ""  # the folder of the repository whose package.json is in the root; None: not known
    stop_signal: str = "SIGTERM"

    @property
    def sh(self) -> str:
        """What ``/bin/sh`` is in the image."""
        return shell_of(self.image)

    @property
    def of_node(self) -> bool:
        """Whether this is the official image of Node, with its own entrypoint."""
        official = re.match(r"(?:(?:docker\.io/)?library/|docker\.io/)?node(?:[:@]|$)", self.image) is not None
        return official and "docker-entrypoint.sh" not in self.copied

    @property
    def words(self) -> tuple[str, ...] | None:
        """ENTRYPOINT and CMD joined, a text with the shell that reads it; None where neither is given.

        The entrypoint of an official Node image becomes the command, so it is left out.
        """
        if self.entrypoint is not None and self.entrypoint.text is not None:
            return (*self.shell, self.entrypoint.text)  # CMD is then ignored
        own = ("node",) if re.search(r"distroless/nodejs", self.image) else ()  # the entrypoint of that image
        first = self.entrypoint.words if self.entrypoint else own
        if self.command is None:
            return first or (("node",) if self.of_node and self.entrypoint is None else None)
        rest = self.command.words if self.command.text is None else (*self.shell, self.command.text)
        return (*first, *rest) or None

    @property
    def place(self) -> str:
        """Which instruction gives the command."""
        names = [name for name, given in (("ENTRYPOINT", self.entrypoint), ("CMD", self.command)) if given]
        return " and ".join(names) or "image's command"


def read_dockerfile(text: str, variables: Mapping[str, str]) -> Stage:
    """The last stage of a Dockerfile.

    Parameters
    ----------
    text : str
        Never refused: what is no instruction is passed over, as a lint would be needed to say more.
    variables : mapping
        Variables of the service, which Railway hands to the build for each ARG.

    Examples
    --------
    >>> lines = ["FROM node:20 AS base", "ENV A=1", "FROM base", "ENV B=$A", 'ENTRYPOINT ["tini"]', "CMD node a.js"]
    >>> stage = read_dockerfile("\\n".join(lines), {})
    >>> stage.env["B"], stage.words, stage.sh
    ('1', ('tini', '/bin/sh', '-c', 'node a.js'), 'dash')
    """
    stages: dict[str, Stage] = {}
    outside: dict[str, str] = {}
    now, name = Stage(), ""
    for number, word, rest in _instructions(text):
        match word:
            case "ARG":
                now, outside = _argument(rest, now, outside, variables, before=not (stages or name or now.image))
            case "FROM":
                if now.image:
                    stages[name] = now
                now, name = _from(rest, stages, outside, len(stages))
            case "ENV":
                values = dict(now.env)
                for key, value in _pairs(rest):
                    values[key] = _substituted(value, {**now.arguments, **now.env})
                now = replace(now, env=values)
            case "SHELL":
                words = _list(rest)
                now = replace(now, shell=tuple(words) if words else now.shell)
            case "CMD":
                now = replace(now, command=_command(rest, number), own_command=True)
            case "ENTRYPOINT":
                # Docker forgets a CMD that was inherited.
                kept = now.command if now.own_command else None
                now = replace(now, entrypoint=_command(rest, number), command=kept)
            case "WORKDIR":
                now = _workdir(_substituted(rest.strip("\"'"), {**now.arguments, **now.env}), now)
            case "COPY" | "ADD":
                now = _copied(rest, now)
            case "STOPSIGNAL":
                now = replace(now, stop_signal=rest.upper())
    return now


def _instructions(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, instruction and the rest, continued lines joined, comments and here-documents left out."""
    lines = text.replace("\r\n", "\n").split("\n")
    directive = re.match(r"(?:#\s*\w+\s*=.*\n)*#\s*escape\s*=\s*([`\\])", text.replace("\r\n", "\n"), re.IGNORECASE)
    escape = directive[1] if directive else "\\"
    number = 0
    while number < len(lines):
        begun, whole = number, ""
        while number < len(lines):
            line = lines[number]
            number += 1
            if line.lstrip().startswith("#") or (whole and not line.strip()):
                if not whole:
                    break
                continue  # dropped inside a continuation, too
            if line.rstrip(" \t").endswith(escape):
                whole += line.rstrip(" \t")[:-1] + " "
                continue
            whole += line
            break
        parts = whole.split(None, 1)
        if not parts or parts[0].upper() not in _INSTRUCTIONS:
            continue
        word, rest = parts[0].upper(), parts[1].strip() if len(parts) > 1 else ""
        if word in ("RUN", "COPY", "ADD"):
            for mark in re.findall(r"<<-?[\"']?(\w+)[\"']?", rest):
                while number < len(lines) and lines[number].strip() != mark:
                    number += 1
                number += 1
        yield begun + 1, word, rest


def _argument(
    rest: str, now: Stage, outside: dict[str, str], variables: Mapping[str, str], *, before: bool
) -> tuple[Stage, dict[str, str]]:
    """ARG, before the first FROM or in a stage."""
    values = dict(outside if before else now.arguments)
    for part in _split(rest):
        key, equals, default = part.partition("=")
        known = {**values, **now.env}
        values[key] = variables.get(key, _substituted(default, known) if equals else outside.get(key, UNREAD))
    return (now, values) if before else (replace(now, arguments=values), outside)


def _from(rest: str, stages: Mapping[str, Stage], outside: Mapping[str, str], count: int) -> tuple[Stage, str]:
    words = [word for word in rest.split() if not word.startswith("--")]
    image = _substituted(words[0], outside) if words else ""
    name = words[2].lower() if len(words) > 2 and words[1].upper() == "AS" else f"\n{count}"
    base = stages.get(image.lower())
    return (replace(base, own_command=False) if base else Stage(image=image or UNREAD)), name


def _workdir(path: str, now: Stage) -> Stage:
    """Folders below the first WORKDIR are those of the repository, as a plain COPY . . has it."""
    if now.root is None:
        return replace(now, root=path.rstrip("/"), folder="")
    if not path.startswith("/"):
        return replace(now, folder=f"{now.folder}/{path}".strip("/") if now.folder is not None else None)
    below = path.rstrip("/") == now.root or path.startswith(f"{now.root}/")
    return replace(now, folder=path[len(now.root) :].strip("/") if below else None)


def _command(rest: str, line: int) -> Command:
    words = _list(rest)
    return Command(text=rest, line=line) if words is None else Command(words=tuple(words), line=line)


def _list(rest: str) -> list[str] | None:
    """The exec form; what is no JSON list of texts, Docker gives to the shell."""
    try:
        words = json.loads(rest)
        json.dumps(words, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


def _pairs(rest: str) -> list[tuple[str, str]]:
    """NAME=VALUE ..., or the old NAME VALUE."""
    parts = _split(rest)
    if parts and "=" not in parts[0]:
        key, _, value = rest.replace("\t", " ").partition(" ")
        return [(key, value.strip())]
    return [(key, value) for key, equals, value in (part.partition("=") for part in parts) if equals]


def _split(rest: str) -> list[str]:
    """Words at blanks outside of quotes, which stay."""
    return re.findall(r"(?:\\.|\"(?:\\.|[^\"\\])*\"|'[^']*'|[^\s\"'\\]|[\"'\\])+", rest)


def _copied(rest: str, now: Stage) -> Stage:
    """What COPY brings in: names of files, and whose package.json comes to lie in the root folder."""
    options, words = re.findall(r"--(\S+)", rest), _list(re.sub(r"^(?:--\S+\s+)+", "", rest))
    words = words or [word for word in rest.split() if not word.startswith("--")]
    if len(words) < 2:
        return now
    names = tuple(word.rstrip("/").rpartition("/")[2] for word in words)
    root, package = now.root or "/", now.package
    here = normpath(f"{root}/{now.folder or ''}") if now.folder is not None else None
    to = words[-1] if words[-1].startswith("/") or here is None else f"{here}/{words[-1]}"
    within = any(option.startswith("from=") for option in options)
    for source in words[:-1]:
        last = source.rstrip("/").rpartition("/")[2]
        manifest = last.startswith("package") or last == "*.json"
        if normpath(to) != normpath(root) and normpath(to) != normpath(f"{root}/package.json"):
            continue
        if not manifest and (within or "." in last.strip(".")) and normpath(source) != normpath(root):
            package = None if within and "." not in last.strip(".") else package  # another stage's folder
            continue
        folder = source.rpartition("/")[0] if manifest else source
        folder = normpath(folder or ".") if not within else normpath(folder.removeprefix(root).lstrip("/") or ".")
        package = "" if folder in (".", "/") else folder.strip("/")
    return replace(now, copied=now.copied if within else (*now.copied, *names), package=package)


def _substituted(text: str, known: Mapping[str, str]) -> str:
    """A value with quotes taken off and variables put in; one that nothing gives is marked as not read."""

    def part(match: re.Match[str]) -> str:
        whole = match[0]
        if whole.startswith("'"):
            return whole[1:-1]
        if whole.startswith("\\"):
            return whole[1:]
        if whole.startswith('"'):
            return re.sub(_PIECE.pattern, part, whole[1:-1])
        name, sign, other = match["name"] or match["bare"], match["sign"], match["other"] or ""
        value = known.get(name)
        if sign in (":-", "-"):
            return value if value else other
        if sign in (":+", "+"):
            return other if value else ""
        if sign:
            return UNREAD
        # Docker leaves out what is not set; but the image below may have set it.
        return value if value is not None else "" if name == "NODE_OPTIONS" else UNREAD

    return _PIECE.sub(part, text)


_PIECE = re.compile(
    r"\\.|\"(?:\\.|[^\"\\])*\"|'[^']*'|\$\{(?P<name>\w+)(?:(?P<sign>:?[-+]|[^\w}])(?P<other>[^}]*))?\}|\$(?P<bare>[A-Za-z_]\w*)",
    re.DOTALL,
)
