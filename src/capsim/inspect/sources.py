"""Reads configuration files into what they declare: values with the file and key that each came from.

Nothing read is executed, expanded or looked up elsewhere, and no message shows a value that may be a secret.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsim.errors import CapsimError
from capsim.inspect.grammar import EXTRA, parsed, shallow
from capsim.inspect.plain import json_of, json_table, toml_table
from capsim.inspect.shell import scripts_of

if TYPE_CHECKING:
    from tree_sitter import Node

KNOWN = ("railway.json", "railway.toml", ".railway/railway.ts", "railway.ts", ".env", "package.json", "Dockerfile")
OLD_FORMAT = ("railway.json", "railway.toml")  # not read by the platform from 2026-12-01 (facts: railway §4)
_LARGEST_BYTES = 1 << 20
MOST_BLANKS = 200  # dotenv takes a time that grows with the square of a row of them: an hour for a mebibyte
_BLANKS = re.compile(rf"(?<![^\S\n])[^\S\n]{{{MOST_BLANKS}}}")


@dataclass
class Declared:
    """What all files together say, before the platform's rules are applied."""

    old: dict[str, Any] = field(default_factory=dict)  # railway.json or .toml: its build and deploy tables
    old_file: str | None = None
    new: dict[str, Any] = field(default_factory=dict)  # railway.ts, in the same words
    new_file: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    variable_places: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    dockerfile: dict[str, Any] = field(default_factory=dict)  # its ENV, and its last CMD or ENTRYPOINT
    dockerfile_name: str | None = None
    notes: list[str] = field(default_factory=list)  # what was seen and not taken over


def read(paths: list[str], service: str | None = None) -> Declared:
    """Read files, folders that hold some of them, and database URLs.

    Parameters
    ----------
    paths : list of str
        Files by the names of `KNOWN` (or ending in them, or in ``.env``), folders, ``postgresql://`` addresses.
    service : str, optional
        Which service of a railway.ts that declares several.

    Raises
    ------
    CapsimError
        If one cannot be read, is of no known kind, or is not what its name says: file, line and remedy.
    """
    declared = Declared()
    for path in paths:
        if re.match(r"postgres(ql)?://", path):
            declared.variables["DATABASE_URL"] = path
            declared.variable_places["DATABASE_URL"] = "the address given"
            continue
        for file in _files(Path(path)):
            _read_file(file, declared, service)
    return declared


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    found = [path / name for name in KNOWN if (path / name).is_file()]
    if not found:
        raise CapsimError(f"{path}: has none of {', '.join(KNOWN)}; name a file, or the folder of the service")
    yield from found


def _read_file(path: Path, declared: Declared, service: str | None) -> None:
    name, source = path.name, str(path)
    if name.endswith((".json", ".toml")) and name != "package.json":
        if declared.old_file:
            raise CapsimError(f"{source}: {declared.old_file} was read already; the platform reads one of them")
        data = (json_table if name.endswith(".json") else toml_table)(_text(path), source)
        declared.old, declared.old_file = _tables(data, source), source
        if data.get("environments"):
            declared.notes.append(f"{source}: environments: blocks for single environments are not applied")
    elif name == "package.json":
        declared.scripts = scripts_of(_text(path), source)
    elif name.endswith(".ts"):
        if declared.new_file:
            raise CapsimError(f"{source}: {declared.new_file} was read already; the platform reads one of them")
        declared.new, declared.new_file = _typescript(_text(path), source, service, declared.notes), source
    elif name.startswith(".env") or name.endswith(".env"):
        for key, value, line in _env(_text(path), source):
            declared.variables[key] = value
            declared.variable_places[key] = f"{source}:{line}"
    elif name.startswith("Dockerfile"):
        declared.dockerfile, declared.dockerfile_name = _dockerfile(_text(path), source), source
    else:
        known = ", ".join(KNOWN)
        raise CapsimError(f"{source}: is of no known kind; give {known}, a folder or a postgresql:// address")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise CapsimError(f"{path}: cannot be read ({error.strerror}); give a readable file") from None
    if len(content) > _LARGEST_BYTES:
        raise CapsimError(f"{path}: larger than 1 MiB, so it is no configuration; give another file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CapsimError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from None


def _tables(data: Mapping[str, Any], source: str) -> dict[str, Any]:
    for table in ("build", "deploy"):
        if not isinstance(data.get(table, {}), dict):
            raise CapsimError(f"{source}: {table} is no table; write its keys below it")
    return {table: data.get(table, {}) for table in ("build", "deploy")}


def _env(text: str, source: str) -> Iterator[tuple[str, str, int]]:
    try:
        from dotenv.parser import parse_stream
    except ModuleNotFoundError:
        raise CapsimError(EXTRA) from None

    if found := _BLANKS.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise CapsimError(f"{source}:{line}: {MOST_BLANKS} blanks in a row; take them out")
    # Line ends of Windows would otherwise stay at the end of values without quotes.
    for binding in parse_stream(io.StringIO(text.replace("\r\n", "\n"))):
        before = len(binding.original.string) - len(binding.original.string.lstrip("\n"))
        line = binding.original.line + before
        if binding.error:
            raise CapsimError(f"{source}:{line}: is no NAME=value; correct the line, or begin it with #")
        if binding.key is not None and binding.value is not None:
            yield binding.key, binding.value, line


def _dockerfile(text: str, source: str) -> dict[str, Any]:
    """ENV and the command of the last stage."""
    found: dict[str, Any] = {"env": {}, "command": None, "shell": False}
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        match word.upper():
            case "FROM":
                found = {"env": {}, "command": None, "shell": False}
            case "ENV":
                pairs = re.findall(r"(\w+)=(\"[^\"]*\"|'[^']*'|\S+)", rest) or [tuple(rest.split(None, 1))]
                found["env"] |= {pair[0]: pair[1].strip("\"'") for pair in pairs if len(pair) == 2}
            case "CMD" | "ENTRYPOINT" if not (word.upper() == "CMD" and found.get("entrypoint")):
                found["entrypoint"] = word.upper() == "ENTRYPOINT"
                found["shell"] = not rest.startswith("[")
                if found["shell"]:
                    found["command"] = rest
                else:
                    import shlex

                    words = json_of(rest, f"{source}: {word}")
                    if not (isinstance(words, list) and all(isinstance(w, str) for w in words)):
                        raise CapsimError(f"{source}: {word} is no list of texts; write each word in double quotes")
                    found["command"] = shlex.join(words)
    return found


# --- railway.ts --------------------------------------------------------------------------------------------

_UNREAD = object()
_WORDS = {  # railway.ts -> the words of railway.json
    "start": "startCommand",
    "healthcheck": "healthcheckPath",
    "healthcheckTimeout": "healthcheckTimeout",
    "replicas": "numReplicas",
}


def _typescript(text: str, source: str, service: str | None, notes: list[str]) -> dict[str, Any]:
    """The literal fields of ``service(name, { ... })``; what is computed is named in the notes, never run."""
    root = parsed("typescript", text)
    if root.has_error:
        raise CapsimError(f"{source}: is not TypeScript that can be read; correct it")
    services: dict[str, dict[str, Any]] = {}
    with shallow(source):
        for call in _calls(root):
            arguments = call.child_by_field_name("arguments")
            values = arguments.named_children if arguments else []
            if len(values) == 2 and values[1].type == "object":
                name = _literal(values[0], source, notes)
                services[str(name)] = _literal(values[1], source, notes)
    if service is None and len(services) > 1:
        services = {name: fields for name, fields in services.items() if "start" in fields} or services
    if service is not None:
        services = {name: fields for name, fields in services.items() if name == service}
    if len(services) != 1:
        raise CapsimError(
            f"{source}: declares {len(services)} services that could be meant"
            + (f" ({', '.join(services)})" if services else "")
            + "; choose one by --service NAME"
        )
    fields = next(iter(services.values()))
    for key in ("build", "deploy", "env"):
        if not isinstance(fields.get(key, {}), dict):
            raise CapsimError(f"{source}: {key} is no object; write {key}: {{ ... }}")
    deploy = dict(fields.get("deploy", {}))
    deploy |= {_WORDS[key]: value for key, value in fields.items() if key in _WORDS}
    if isinstance(deploy.get("numReplicas"), dict):  # by region
        deploy["numReplicas"] = sum(v for v in deploy["numReplicas"].values() if isinstance(v, int))
    return {
        "build": fields.get("build", {}),
        "deploy": deploy,
        "env": {key: str(value) for key, value in fields.get("env", {}).items()},
    }


def _calls(node: Node) -> Iterator[Node]:
    if node.type == "call_expression":
        function = node.child_by_field_name("function")
        if function is not None and function.text == b"service":
            yield node
    for child in node.children:
        yield from _calls(child)


def _literal(node: Node, source: str, notes: list[str]) -> Any:
    text = (node.text or b"").decode()
    match node.type:
        case "string":
            return "".join(_escaped((part.text or b"").decode()) for part in node.named_children)
        case "template_string" if not any(c.type == "template_substitution" for c in node.children):
            return text[1:-1]
        case "number":
            return _number(text)
        case "true" | "false":
            return node.type == "true"
        case "array":
            return [v for child in node.named_children if (v := _literal(child, source, notes)) is not _UNREAD]
        case "as_expression" | "satisfies_expression" | "parenthesized_expression":
            return _literal(node.named_children[0], source, notes)
        case "object":
            found = {}
            for pair in node.named_children:
                key, value = pair.child_by_field_name("key"), pair.child_by_field_name("value")
                if pair.type == "comment":
                    continue
                name = (key.text or b"").decode().strip("\"'`") if key else "..."
                result = _UNREAD if key is None or value is None else _literal(value, source, notes)
                if result is _UNREAD:
                    notes.append(f"{source}:{pair.start_point[0] + 1}: {name} is computed, so it is not read")
                else:
                    found[name] = result
            return found
    return _UNREAD


def _number(text: str) -> Any:
    """A number as JavaScript writes it: 1_000, 0x10, 10n, 1e3."""
    for reader in (lambda: int(text.removesuffix("n"), 0), lambda: float(text.replace("_", ""))):
        try:
            number: int | float = reader()
        except ValueError:
            continue
        return int(number) if isinstance(number, float) and number.is_integer() else number
    return _UNREAD


def _escaped(text: str) -> str:
    return {"\\n": "\n", "\\t": "\t"}.get(text, text[1:] if text.startswith("\\") else text)
