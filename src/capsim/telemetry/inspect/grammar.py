"""Syntax trees of what is read: kept grammars, imported when used; a tree is looked at and never run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from capsim.base.errors import CapsimError

if TYPE_CHECKING:
    from tree_sitter import Node

EXTRA = "inspect needs its parsers; install them with: pip install 'capsim[inspect]'"


def parsed(language: Literal["bash", "typescript"], text: str) -> Node:
    """The root of the syntax tree of a text; ``has_error`` says whether it is well formed."""
    try:
        import tree_sitter_bash
        import tree_sitter_typescript
        from tree_sitter import Language, Parser
    except ModuleNotFoundError:
        raise CapsimError(EXTRA) from None
    of = {"bash": tree_sitter_bash.language, "typescript": tree_sitter_typescript.language_typescript}[language]
    return Parser(Language(of())).parse(text.encode()).root_node


@contextmanager
def shallow(source: str) -> Iterator[None]:
    """Refuse what is nested deeper than Python can follow; no configuration is, and no message shows its text."""
    try:
        yield
    except RecursionError:
        raise CapsimError(f"{source}: is nested too deeply, or has too long a chain of &&; make it simpler") from None
