"""What an expression of TypeScript comes to, as far as the file alone says it; nothing is run."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capsim.telemetry.inspect.typescript_scope import Scope, text_of
from capsim.telemetry.inspect.unknown import Unknown

if TYPE_CHECKING:
    from tree_sitter import Node

_MOST_TEXT = 100_000  # a text that doubles with every line stops here
_MOST_ITEMS = 10_000
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": ""}
_WRAPPED = ("as_expression", "satisfies_expression", "parenthesized_expression", "non_null_expression")
KEPT = "kept in Railway (preserve())"


class Fields(dict[str, Any]):
    """An object's fields; ``further`` says why there may be others that were not read."""

    further: Unknown | None = None

    def of(self, key: str) -> Any:
        """A field: None where it is not set, Unknown where that cannot be told."""
        return self.get(key, self.further)


@dataclass(frozen=True)
class Reference:
    """Another resource's variable, or one shared by the project: Railway fills it in."""

    text: str  # as Railway writes it: ${{Postgres.DATABASE_URL}}


@dataclass(frozen=True)
class Resource:
    """What a call of the package `railway` declares."""

    kind: str  # service, fn, postgres, image, ...
    name: Any
    fields: Any


class TypeScriptValues:
    """Reads expressions of one file.

    Parameters
    ----------
    scope : Scope
        Names of the file.
    source : str
        File, for the places of what is not known.
    environment : str, optional
        The environment that ``ctx.isEnvironment(...)`` asks about.
    """

    def __init__(self, scope: Scope, source: str, environment: str | None = None) -> None:
        self.scope, self.source, self.environment = scope, source, environment
        self._constants: dict[str, Any] = {}

    def of(self, node: Node) -> Any:
        """The value: text, number, bool, None (null and undefined), list, `Fields`, or one of the classes above."""
        if node.type in _WRAPPED:
            return self.of(node.named_children[0]) if node.named_children else self.unknown(node)
        reader = _READERS.get(node.type)
        return reader(self, node) if reader else self.unknown(node)

    def unknown(self, node: Node, why: str = "it is computed") -> Unknown:
        """What was not read, at its line."""
        return Unknown(why, f"{self.source}:{node.start_point[0] + 1}")

    def text(self, node: Node) -> Any:
        """A text in quotes or backticks."""
        told = ""
        for part in node.children[1:-1]:
            if part.type == "template_substitution":
                value = self.of(part.named_children[0]) if part.named_children else self.unknown(part)
                if isinstance(value, Unknown):
                    return value
                if (word := _word(value)) is None:
                    return self.unknown(part, NO_TEXT)
                told += word
            elif part.type == "escape_sequence":
                told += _escaped(text_of(part))
            else:
                told += text_of(part)
            if len(told) > _MOST_TEXT:
                return self.unknown(node, "the text is too long")
        if any(0xD800 <= ord(c) < 0xE000 for c in told):
            return self.unknown(node, "half a surrogate pair is no text")
        return told

    def number(self, node: Node) -> Any:
        """1_000, 0x10, 10n, 1e3."""
        text = text_of(node)
        for reader in (lambda: int(text.removesuffix("n"), 0), lambda: float(text.replace("_", ""))):
            try:
                number: int | float = reader()
            except ValueError:
                continue
            return _whole(number)
        return self.unknown(node)

    def array(self, node: Node) -> Any:
        """A list; one with a spread that is not known is not known."""
        found: list[Any] = []
        for child in node.named_children:
            if child.type == "comment":
                continue
            if child.type == "spread_element":
                spread = self.of(child.named_children[0]) if child.named_children else None
                if not isinstance(spread, list):
                    return self.unknown(child)
                found += spread
            else:
                found.append(self.of(child))
            if len(found) > _MOST_ITEMS:
                return self.unknown(node, "the list is too long")
        return found

    def object(self, node: Node) -> Fields:
        """An object; after a spread that is not known, no field before it is known either."""
        found = Fields()
        for part in node.named_children:
            match part.type:
                case "comment":
                    continue
                case "shorthand_property_identifier":
                    found[text_of(part)] = self.named(part)
                case "pair":
                    self._pair(part, found)
                case "spread_element":
                    self._spread(part, found)
                case _:
                    name = part.child_by_field_name("name")
                    found[text_of(name) if name else "..."] = self.unknown(part)
        return found

    def _pair(self, part: Node, found: Fields) -> None:
        key, value = part.child_by_field_name("key"), part.child_by_field_name("value")
        if key is None or value is None:
            return
        name: Any = text_of(key)
        if key.type == "string":
            name = self.text(key)
        elif key.type == "computed_property_name":
            name = self.of(key.named_children[0]) if key.named_children else None
        if isinstance(name, str | int):
            found[str(name)] = self.of(value)
        else:
            _hidden(found, self.unknown(part, "a name beside it is computed"))

    def _spread(self, part: Node, found: Fields) -> None:
        value = self.of(part.named_children[0]) if part.named_children else None
        if isinstance(value, Fields):
            if value.further:
                _hidden(found, value.further)
            found.update(value)
        elif value is not None and value is not False:
            why = value.why if isinstance(value, Unknown) else "it is computed"
            _hidden(found, self.unknown(part, f"it may be set by a spread: {why}"))

    def named(self, node: Node) -> Any:
        """A constant of the file."""
        name = text_of(node)
        if name not in self._constants:
            self._constants[name] = self.unknown(node, f"{name} is made of itself")
            found = self.scope.constant(name)
            if not isinstance(found, str):
                value = self.of(found)
            else:  # a name in ({ environment }) => ... is the context's
                value = self._environment(node) if name in _ENVIRONMENT else self.unknown(node, f"{name}: {found}")
            self._constants[name] = value
        return self._constants[name]

    def member(self, node: Node) -> Any:
        """``a.b``, ``a["b"]``, ``db.env.DATABASE_URL``, ``ctx.shared.X``."""
        of, key = node.child_by_field_name("object"), node.child_by_field_name("property")
        key = key or node.child_by_field_name("index")
        if of is None or key is None:
            return self.unknown(node)
        name = text_of(key) if key.type == "property_identifier" else self.of(key)
        value = self.of(of)
        if isinstance(value, Resource) and name == "env":
            return _Env(value)
        if isinstance(value, _Env) and isinstance(name, str):
            return Reference(f"${{{{{value.resource.name}.{name}}}}}")
        if isinstance(value, Fields):
            return value.of(str(name))
        if isinstance(value, list) and isinstance(name, int) and 0 <= name < len(value):
            return value[name]
        return self._of_context(node, of, name) if isinstance(value, Unknown) else self.unknown(node)

    def _of_context(self, node: Node, of: Node, name: Any) -> Any:
        """``ctx.environment``, ``ctx.shared.X``, and ``process.env.X`` of the machine that applies the file."""
        if text_of(of) == "process.env":
            return self.unknown(node, "it is taken from the machine that applies it (process.env)")
        outer = of.child_by_field_name("property") if of.type == "member_expression" else of
        own = of.type == "identifier" and not isinstance(self.scope.constant(text_of(of)), str)
        if outer is not None and text_of(outer) == "shared" and isinstance(name, str) and not own:
            return Reference(f"${{{{shared.{name}}}}}")
        if name in _ENVIRONMENT and of.type == "identifier" and not own:
            return self._environment(node)
        return self.of(of)

    def call(self, node: Node) -> Any:
        """A call of the package, and the few of the language that only put texts together."""
        function, arguments = node.child_by_field_name("function"), node.child_by_field_name("arguments")
        if function is None or arguments is None:
            return self.unknown(node)
        given = [child for child in arguments.named_children if child.type != "comment"]
        sdk = self.scope.sdk_name(function)
        if sdk == "preserve":
            return self.unknown(node, KEPT)
        if sdk == "ref" and len(given) == 2:
            resource, key = self.of(given[0]), self.of(given[1])
            known = isinstance(resource, Resource) and isinstance(key, str)
            return Reference(f"${{{{{resource.name}.{key}}}}}") if known else self.unknown(node)
        if sdk in RESOURCES:
            values = [*(self.of(child) for child in given[:2]), None, None]
            return Resource(sdk, values[0], values[1])
        if text_of(function) == "Object.freeze" and given:
            return self.of(given[0])
        return self._method(node, function, given)

    def _method(self, node: Node, function: Node, given: list[Node]) -> Any:
        key, of = function.child_by_field_name("property"), function.child_by_field_name("object")
        method = text_of(key) if key is not None else text_of(function)
        if method == "isEnvironment" and given:
            asked, at = self.of(given[0]), self._environment(node)
            return at if isinstance(at, Unknown) else at == asked
        if of is None or method not in ("join", "trim", "concat"):
            return self.unknown(node)
        value, words = self.of(of), [_word(self.of(child)) for child in given]
        if method == "trim" and isinstance(value, str):
            return value.strip()
        if method == "concat" and isinstance(value, str) and None not in words:
            return "".join([value, *(word for word in words if word is not None)])[:_MOST_TEXT]
        if method == "join" and isinstance(value, list):
            parts, by = [_word(part) for part in value], words[0] if words else ","
            if by is not None and None not in parts:
                return by.join(part for part in parts if part is not None)[:_MOST_TEXT]
        return self.unknown(node)

    def _environment(self, node: Node) -> Any:
        return self.environment or self.unknown(node, "it depends on the environment; choose one by --environment NAME")

    def binary(self, node: Node) -> Any:
        """+, -, *, /, **, ??, ||, &&, ===, !==."""
        sign_node = node.child_by_field_name("operator")
        sides = node.child_by_field_name("left"), node.child_by_field_name("right")
        if sign_node is None or sides[0] is None or sides[1] is None:
            return self.unknown(node)
        left, sign = self.of(sides[0]), text_of(sign_node)
        if isinstance(left, Unknown):
            return left
        if sign in ("??", "||", "&&"):
            keep = {"??": left is not None, "||": _true(left), "&&": not _true(left)}[sign]
            return left if keep else self.of(sides[1])
        right = self.of(sides[1])
        if isinstance(right, Unknown):
            return right
        if sign in ("===", "==", "!==", "!="):
            return (left == right and type(left) is type(right)) != sign.startswith("!")
        result = _arithmetic(sign, left, right)
        return self.unknown(node, NO_TEXT if sign == "+" else "it is computed") if result is None else result

    def unary(self, node: Node) -> Any:
        """-a, !a, void 0."""
        sign_node, argument = node.child_by_field_name("operator"), node.child_by_field_name("argument")
        value = self.of(argument) if argument is not None else self.unknown(node)
        sign = text_of(sign_node) if sign_node is not None else ""
        if isinstance(value, Unknown):
            return value
        if sign == "!":
            return not _true(value)
        if sign == "-" and isinstance(value, int | float):
            return -value
        return None if sign == "void" else self.unknown(node)

    def ternary(self, node: Node) -> Any:
        """A choice, where what it depends on is known."""
        parts = [node.child_by_field_name(name) for name in ("condition", "consequence", "alternative")]
        if any(part is None for part in parts):
            return self.unknown(node)
        condition, yes, no = (part for part in parts if part is not None)
        value = self.of(condition)
        return value if isinstance(value, Unknown) else self.of(yes if _true(value) else no)


RESOURCES = (
    "service",
    "fn",
    "postgres",
    "mysql",
    "redis",
    "mongo",
    "database",
    "volume",
    "bucket",
    "github",
    "image",
    "template",
    "empty",
)
_ENVIRONMENT = ("environment", "environmentName")
NO_TEXT = "a reference or an object inside a text becomes [object Object]; write \\${{Name.VARIABLE}} there"
_READERS: Mapping[str, Callable[[TypeScriptValues, Node], Any]] = {
    "string": TypeScriptValues.text,
    "template_string": TypeScriptValues.text,
    "number": TypeScriptValues.number,
    "true": lambda _values, _node: True,
    "false": lambda _values, _node: False,
    "null": lambda _values, _node: None,
    "undefined": lambda _values, _node: None,
    "array": TypeScriptValues.array,
    "object": TypeScriptValues.object,
    "identifier": TypeScriptValues.named,
    "member_expression": TypeScriptValues.member,
    "subscript_expression": TypeScriptValues.member,
    "call_expression": TypeScriptValues.call,
    "binary_expression": TypeScriptValues.binary,
    "unary_expression": TypeScriptValues.unary,
    "ternary_expression": TypeScriptValues.ternary,
}


@dataclass(frozen=True)
class _Env:
    resource: Resource


def _hidden(found: Fields, why: Unknown) -> None:
    for key in found:
        found[key] = why
    found.further = why


def _true(value: Any) -> bool:
    """As JavaScript takes it: an empty list or object is true."""
    return isinstance(value, list | Fields | Resource | Reference) or bool(value)


def _word(value: Any) -> str | None:
    """How JavaScript writes a value into a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) or (isinstance(value, float) and abs(value) < 1e15) else None


def _whole(number: float) -> int | float:
    return int(number) if isinstance(number, float) and number.is_integer() and abs(number) < 1e18 else number


def _arithmetic(sign: str, left: Any, right: Any) -> Any:
    if sign == "+" and (isinstance(left, str) or isinstance(right, str)):
        words = _word(left), _word(right)
        if words[0] is None or words[1] is None or len(words[0]) + len(words[1]) > _MOST_TEXT:
            return None
        return words[0] + words[1]
    if not (isinstance(left, int | float) and isinstance(right, int | float)):
        return None
    operation = _OPERATIONS.get(sign)
    try:
        result = operation(float(left), float(right)) if operation else None
    except ArithmeticError:
        return None
    return _whole(result) if isinstance(result, float) else None  # a root of what is negative is complex


_OPERATIONS: Mapping[str, Callable[[float, float], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
}


def _escaped(text: str) -> str:
    body = text[1:]
    if match := re.fullmatch(r"u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})", body):
        code = int(match[1] or match[2] or match[3], 16)
        return chr(code) if code < 0x110000 else "\ufffd"
    return _ESCAPES.get(body.replace("\r", ""), body)
