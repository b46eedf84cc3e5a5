"""The house as a picture: which room imports which. ``make house`` writes docs/figures/house.svg."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

TOP = Path(__file__).resolve().parents[2]
PICTURE = TOP / "docs/figures/house.svg"
CELL, LEFT, ABOVE = 26, 740, 96


def rooms() -> list[str]:
    """Top first, as the contract of import-linter has them."""
    contracts = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [room for layer in layers for room in layer.split(" | ")]


def imports() -> set[tuple[str, str]]:
    """Pairs of rooms of which the first imports the second somewhere, for a type or inside a function too."""
    graph = grimp.build_graph("capsim", cache_dir=None)
    pairs = {
        (importer.split(".")[1], imported.split(".")[1])
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
        if importer.count(".") and imported.count(".")
    }
    return {(above, below) for above, below in pairs if above != below and above in rooms()}


def about(room: str) -> str:
    """The first line of a room's docstring."""
    text = (TOP / "src/capsim" / room / "__init__.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def picture() -> str:
    """An SVG: a row a room with what it is for, a dot in the column of each room that it imports."""
    names, pairs = rooms(), imports()
    width, height = LEFT + CELL * len(names) + 12, ABOVE + CELL * len(names) + 12
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        ' font-family="sans-serif" font-size="12">',
        "<title>Rooms of src/capsim, top first; a dot where the room of the row imports that of the column</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for row, name in enumerate(names):
        y = ABOVE + CELL * row
        x = LEFT + CELL * row + CELL / 2
        if row % 2 == 0:
            lines.append(f'<rect x="6" y="{y}" width="{width - 12}" height="{CELL}" fill="#f2f4f7"/>')
        lines += [
            f'<text x="12" y="{y + 17}" font-weight="bold">{name}/</text>',
            f'<text x="104" y="{y + 17}">{escape(about(name))}</text>',
            f'<text transform="translate({x + 4:g} {ABOVE - 8}) rotate(-60)">{name}</text>',
        ]
        for column, other in enumerate(names):
            middle = f'cx="{LEFT + CELL * column + CELL / 2:g}" cy="{y + CELL / 2:g}"'
            if column == row:
                lines.append(f'<circle {middle} r="2" fill="#999"/>')
            elif (name, other) in pairs:
                lines.append(f'<circle {middle} r="6" fill="{"#0b62a4" if column > row else "#c0392b"}"/>')
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
