"""Notebooks that are committed with their outputs: executed, tidied, compared with a fresh execution.

``python -m capsim.show.notebooks notebooks/*.ipynb`` makes them again. What differs between machines or runs (times,
versions, identifiers) is taken out, so that a changed line in a notebook is a changed text, table or picture. A
markdown cell tagged ``answer`` receives what the code cell tagged ``answer-source`` prints: the sentences at the top
are always made of the numbers below them.
"""

from __future__ import annotations

import copy
import html
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capsim.base.errors import CapsimError

if TYPE_CHECKING:
    from nbformat import NotebookNode

_NO_WORDS = "No description has been provided for this image"  # what nbconvert says of a picture
LONGEST_CELL_S = 300
WIDGET = "application/vnd.jupyter.widget-view+json"
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
    except (OSError, ValueError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
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
    heading = ""
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:02d}"
        cell.metadata = {key: value for key, value in cell.metadata.items() if key == "tags"}
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if not _passing(o)]
            for output in cell.outputs:
                if "metadata" in output:
                    drawn = "image/png" in output.get("data", {})
                    output.metadata = {"image/png": {"alt": _alt(heading, cell.source)}} if drawn else {}
        elif cell.source.startswith("#"):
            heading = cell.source.splitlines()[0].lstrip("# ")
    return notebook


def _passing(output: NotebookNode) -> bool:
    """What is not there when a notebook is read later: progress, and widgets, which need their kernel."""
    if output.output_type == "stream":
        return bool(output.name == "stderr")
    return WIDGET in output.get("data", {})


def _alt(heading: str, source: str) -> str:
    """A picture in words: the section that it stands in, and the call that drew it."""
    calls = [line.rstrip("; ") for line in source.splitlines() if "plot" in line]
    return f"Figure of the section “{heading}”, drawn by {calls[-1] if calls else 'the cell above'}."


def with_parameters(notebook: NotebookNode, parameters: Mapping[str, Any], source: str) -> NotebookNode:
    """A copy whose cell tagged ``parameters`` is followed by one that sets other values.

    Raises
    ------
    CapsimError
        If the notebook has no such parameter, or the extra ``notebooks`` is not installed.
    """
    try:
        from papermill.parameterize import parameterize_notebook
    except ImportError as error:
        raise CapsimError(f"{source}: other parameters need papermill: pip install 'capsim[notebooks]'") from error
    cells = [cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    names = re.findall(r"^(\w+) *=", "\n".join(cells), re.MULTILINE)
    for name in parameters:
        if name not in names:
            known = f"its parameters: {', '.join(names)}" if names else "it has no cell tagged parameters"
            raise CapsimError(f"{source}: has no parameter {name}; {known}")
    tagged = copy.deepcopy(notebook)
    for cell in tagged.cells:
        cell.metadata.setdefault("tags", [])  # papermill takes them for granted ...
    tagged.metadata.setdefault("papermill", {})  # ... and this
    made: NotebookNode = parameterize_notebook(tagged, dict(parameters), kernel_name="python3", language="python")
    return made


def page(notebook: NotebookNode, title: str) -> str:
    """The notebook as one HTML page that needs no other file."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(require_js_url="", mathjax_url="", mermaid_js_url="", jquery_url="", theme="light")  # type: ignore[no-untyped-call]
    text: str = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})[0]
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        if "image/png" in output.get("data", {}):  # the template leaves its words out
            words = output.metadata.get("image/png", {}).get("alt", "Figure.")
            text = text.replace(f'alt="{_NO_WORDS}"', f'alt="{html.escape(words)}"', 1)
    return text


def report(path: Path, parameters: Mapping[str, Any], folder: Path) -> str:
    """Run a notebook on other inputs, and give it as an HTML page.

    Parameters
    ----------
    path : Path
        The notebook; left as it is.
    parameters : mapping
        Other values for names in its cell tagged ``parameters``.
    folder : Path
        Where the kernel works: paths among the parameters begin there.

    Returns
    -------
    str
        HTML; its title is the notebook's question.

    Raises
    ------
    CapsimError
        If it cannot be read, has no such parameter, or one of its cells fails: with the cell and the last line.
    """
    notebook = read(path)
    if parameters:
        notebook = with_parameters(notebook, parameters, str(path))
    try:
        from nbclient.exceptions import CellExecutionError

        fresh = executed(notebook, folder)
    except ImportError as error:
        raise CapsimError(f"{path}: needs the extra 'notebooks': pip install 'capsim[notebooks]'") from error
    except CellExecutionError as error:
        said = (error.evalue or error.ename or "it failed").strip().splitlines()[0]
        raise CapsimError(f"{path}: a cell fails: {error.ename}: {said}; open it in capsim lab to see which") from None
    return page(fresh, _title(fresh) or path.stem)


def _title(notebook: NotebookNode) -> str:
    first = notebook.cells[0].source if notebook.cells else ""
    return first.splitlines()[0].lstrip("# ") if first.startswith("#") else ""


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

    from capsim.base.files import write_text

    for path in map(Path, paths):
        fresh = executed(read(path), path.parent)
        write_text(path, nbformat.writes(fresh) + "\n")  # type: ignore[no-untyped-call]
        print(f"made {path}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
