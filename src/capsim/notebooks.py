"""Notebooks that are committed with their outputs: executed, tidied, compared with a fresh execution.

``python -m capsim.notebooks notebooks/*.ipynb`` makes them again. What differs between machines or runs (times,
versions, identifiers) is taken out, so that a changed line in a notebook is a changed text, table or picture. A
markdown cell tagged ``answer`` receives what the code cell tagged ``answer-source`` prints: the sentences at the top
are always made of the numbers below them.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capsim.errors import CapsimError

if TYPE_CHECKING:
    from nbformat import NotebookNode

LONGEST_CELL_S = 300
COMPARED = ("text/plain", "text/html", "text/markdown")  # pictures are for people to look at
ANSWER, ANSWER_SOURCE = "answer", "answer-source"


def read(path: Path) -> NotebookNode:
    """A notebook from its file.

    Raises
    ------
    CapsimError
        If the file is absent, is no notebook, or the extra ``notebooks`` is not installed.
    """
    try:
        import nbformat
    except ImportError as error:
        raise CapsimError(f"{path}: needs the extra 'notebooks': pip install 'capsim[notebooks]'") from error
    try:
        notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        return notebook
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        reason = getattr(error, "strerror", None) or "not a notebook"
        raise CapsimError(f"{path}: cannot be read ({reason}); give a .ipynb file") from error


def executed(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """A copy with the outputs of a fresh execution from top to bottom, tidied.

    Parameters
    ----------
    notebook : NotebookNode
        As from `read`; left alone.
    folder : Path
        Where the kernel works.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    from nbclient import NotebookClient

    fresh = copy.deepcopy(notebook)
    client = NotebookClient(
        fresh,
        timeout=LONGEST_CELL_S,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    _answer(fresh)
    return tidied(fresh)


def tidied(notebook: NotebookNode) -> NotebookNode:
    """The notebook without anything that another machine or another day would write differently."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:02d}"
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if not (o.output_type == "stream" and o.name == "stderr")]
            for output in cell.outputs:
                if "metadata" in output:
                    output.metadata = {}
    return notebook


def differences(kept: NotebookNode, fresh: NotebookNode) -> list[str]:
    """What a reader would read differently: sources, printed text and tables, not pictures.

    Returns
    -------
    list of str
        One line for every differing line: cell, what was kept, what is now. Empty if nothing drifted.
    """
    found = []
    if len(kept.cells) != len(fresh.cells):
        found.append(f"{len(kept.cells)} cells were kept, there are {len(fresh.cells)}")
    for number, (old, new) in enumerate(zip(kept.cells, fresh.cells, strict=False), 1):
        left, right = list(_lines(old)), list(_lines(new))
        size = max(len(left), len(right))
        for a, b in zip(left + [""] * (size - len(left)), right + [""] * (size - len(right)), strict=True):
            if a != b:
                found.append(f"cell {number}: kept {a!r}, now {b!r}")
    return found


def _lines(cell: NotebookNode) -> Iterator[str]:
    yield from cell.source.splitlines()
    for output in cell.get("outputs", ()):
        if output.output_type == "stream":
            yield from output.text.splitlines()
        for kind in COMPARED:
            yield from output.get("data", {}).get(kind, "").splitlines()


def _answer(notebook: NotebookNode) -> None:
    def tagged(tag: str) -> list[NotebookNode]:
        return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", ())]

    for source in tagged(ANSWER_SOURCE):
        for cell in tagged(ANSWER):
            cell.source = "".join(o.text for o in source.outputs if o.output_type == "stream").strip()


def main(paths: Sequence[str]) -> None:
    """Make notebooks again, in place."""
    import nbformat

    from capsim.files import write_text

    for path in map(Path, paths):
        fresh = executed(read(path), path.parent)
        write_text(path, nbformat.writes(fresh) + "\n")  # type: ignore[no-untyped-call]
        print(f"made {path}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
