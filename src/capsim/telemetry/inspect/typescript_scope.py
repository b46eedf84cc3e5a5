"""The names of a TypeScript file: what each is bound to, and whether that can be relied on without running it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

_PATTERNS = ("identifier", "shorthand_property_identifier_pattern")


class Scope:
    """Names bound in a file.

    A name counts as a constant only if the whole file binds it once, by ``const``, and never changes what it holds:
    scopes need not be followed then.

    Parameters
    ----------
    root : Node
        Root of the file's syntax tree.
    """

    def __init__(self, root: Node) -> None:
        self.imported: dict[str, str] = {}  # local name -> name in the package; "*" for all of it
        self._constants: dict[str, Node] = {}
        self._bound: Counter[str] = Counter()
        self._changed: set[str] = set()
        for node in walk(root):
            self._add(node)

    def constant(self, name: str) -> Node | str:
        """The expression of a constant, or why there is none."""
        if self._bound[name] > 1:
            return "its name is bound more than once in the file"
        if name in self._changed:
            return "it is changed after it is written"
        if name in self._constants:
            return self._constants[name]
        return "it is no constant of the file"

    def sdk_name(self, callee: Node) -> str | None:
        """The name in the package `railway` of what is called: ``svc`` of ``service as svc``, ``rw.service``."""
        if callee.type == "identifier":
            name = text_of(callee)
            return self.imported.get(name, None if self._bound[name] else name)
        if callee.type == "member_expression":
            of, name_node = callee.child_by_field_name("object"), callee.child_by_field_name("property")
            if of is not None and name_node is not None and self.imported.get(text_of(of)) == "*":
                return text_of(name_node)
        return None

    def _add(self, node: Node) -> None:
        match node.type:
            case "import_specifier":
                name, alias = node.child_by_field_name("name"), node.child_by_field_name("alias")
                if name is not None:
                    self.imported[text_of(alias or name)] = text_of(name)
            case "namespace_import" | "import_clause":
                for child in node.named_children:
                    if child.type == "identifier":
                        self.imported[text_of(child)] = "*"
            case "variable_declarator":
                self._declared(node)
            case "required_parameter" | "optional_parameter":
                self._bind(node.child_by_field_name("pattern"))
            case "arrow_function" | "catch_clause":
                self._bind(node.child_by_field_name("parameter"))
            case "for_in_statement":
                self._bind(node.child_by_field_name("left"))
            case "function_declaration" | "class_declaration":
                self._bind(node.child_by_field_name("name"))
            case "assignment_expression" | "augmented_assignment_expression":
                self._change(node.child_by_field_name("left"))
            case "update_expression" | "unary_expression" if not text_of(node).startswith(("-", "!", "+1", "typeof")):
                self._change(node.child_by_field_name("argument"))
            case "call_expression":
                self._called(node)

    def _declared(self, node: Node) -> None:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None:
            return
        if value is not None and _is_require(value):
            self._required(name)
            return
        self._bind(name)
        constant = node.parent is not None and node.parent.children[0].type == "const"
        if name.type == "identifier" and value is not None and constant:
            self._constants[text_of(name)] = value

    def _required(self, name: Node) -> None:
        if name.type == "identifier":
            self.imported[text_of(name)] = "*"
        for child in name.named_children:
            if child.type == "shorthand_property_identifier_pattern":
                self.imported[text_of(child)] = text_of(child)
            elif child.type == "pair_pattern":
                key, value = child.child_by_field_name("key"), child.child_by_field_name("value")
                if key is not None and value is not None:
                    self.imported[text_of(value)] = text_of(key)

    def _bind(self, pattern: Node | None) -> None:
        for node in walk(pattern) if pattern is not None else ():
            if node.type in _PATTERNS:
                self._bound[text_of(node)] += 1

    def _change(self, target: Node | None) -> None:
        while target is not None and target.type in (
            "member_expression",
            "subscript_expression",
            "non_null_expression",
        ):
            target = target.child_by_field_name("object") or next(iter(target.named_children), None)
        if target is not None and target.type == "identifier":
            self._changed.add(text_of(target))

    def _called(self, node: Node) -> None:
        """Object.assign(a, ...), a.push(...): changes of a."""
        function, arguments = node.child_by_field_name("function"), node.child_by_field_name("arguments")
        if function is None or function.type != "member_expression":
            return
        if text_of(function) in ("Object.assign", "Object.defineProperty") and arguments is not None:
            self._change(next(iter(arguments.named_children), None))
        method = function.child_by_field_name("property")
        if method is not None and text_of(method) in ("push", "unshift", "pop", "shift", "splice", "reverse", "sort"):
            self._change(function)


def _is_require(value: Node) -> bool:
    function = value.child_by_field_name("function") if value.type == "call_expression" else None
    return function is not None and text_of(function) == "require"


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it, in the order of the text."""
    waiting = [node]
    while waiting:
        now = waiting.pop()
        yield now
        waiting += reversed(now.children)


def text_of(node: Node) -> str:
    """The text of a node."""
    return (node.text or b"").decode()
