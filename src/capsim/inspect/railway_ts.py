"""railway.ts (the npm package `railway`): the fields of one service, in the words of railway.json; nothing is run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from capsim.errors import CapsimError
from capsim.inspect.grammar import parsed, shallow

if TYPE_CHECKING:
    from tree_sitter import Node

_UNREAD = object()
_WORDS = {  # railway.ts -> the words of railway.json
    "start": "startCommand",
    "healthcheck": "healthcheckPath",
    "healthcheckTimeout": "healthcheckTimeout",
    "replicas": "numReplicas",
}


def typescript(text: str, source: str, service: str | None, notes: list[str]) -> dict[str, Any]:
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
