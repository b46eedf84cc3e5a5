"""Pages of the site that are made of what stands elsewhere: the README, notebooks, data, docstrings, commands, keys.

Loaded by MkDocs (``hooks`` of mkdocs.yml). Nothing here says anything of its own, so nothing can be out of date.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

import capsim
from capsim import cli
from capsim.results.metrics import METRICS
from capsim.scenario import columns as tables
from capsim.scenario.file import keys as scenario_keys

TOP = Path(__file__).resolve().parents[2]

# Where a page of the repository stands in the site; all others are files that the repository has and the site has not.
COPIED = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "benchmarks/README.md": "benchmarks/README.md",
    "benchmarks/results.md": "benchmarks/results.md",
    **{(place := f"data/{name}/README.md"): place for name in ("audit", "prices", "scenarios", "tables", "traces")},
}
TABLES = {
    "SAMPLES": "Samples of a run: one row a bin, a minute unless said otherwise",
    "MEMORY": "Memory and CPU: columns that stand beside the samples",
    "BATCHES": "Flushes: one row for each attempt",
    "BILL": "The bill: one row a line",
}
WIDGET = "application/vnd.jupyter.widget-view+json"
_LINK = re.compile(r"(!?\[[^\]]*\])\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    made: dict[str, str | bytes] = {place: linked(source, place) for source, place in COPIED.items()}
    for notebook in sorted((TOP / "notebooks").glob("*.ipynb")):
        made |= as_page(notebook)
    made["reference/commands.md"] = commands()
    made["reference/python.md"] = python()
    made["reference/keys.md"] = keys()
    made["reference/columns.md"] = columns()
    made["reference/figures.md"] = figures()
    for place, content in made.items():
        if files.get_file_from_path(place) is None:
            files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Links of pages in docs/ that leave it."""
    if page.file.generated_by:
        return markdown
    return _with_links(markdown, f"docs/{page.file.src_uri}", page.file.src_uri)


def linked(source: str, place: str) -> str:
    """A Markdown file of the repository, its links as the site has the pages."""
    return _with_links((TOP / source).read_text(encoding="utf-8"), source, place)


def _with_links(text: str, source: str, place: str) -> str:
    def there(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        found = _place_of(((TOP / source).parent / target).resolve())
        if found is None:  # a file or folder that only the repository has
            return f"{label[1:-1]}" if not label.startswith("!") else match[0]
        up = "../" * place.count("/")
        return f"{label}({up}{found}{anchor})"

    return _LINK.sub(there, text)


def _place_of(path: Path) -> str | None:
    if not path.is_relative_to(TOP):
        return None
    place = path.relative_to(TOP).as_posix()
    if place in COPIED:
        return COPIED[place]
    if place.startswith("docs/"):
        return place.removeprefix("docs/")
    if place.startswith("notebooks/") and path.suffix == ".ipynb":
        return place.removesuffix(".ipynb") + ".md"
    return None


def as_page(path: Path) -> dict[str, str | bytes]:
    """A notebook as Markdown, with its figures beside it."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":  # a live widget is no picture of itself
            cell.outputs = [out for out in cell.outputs if WIDGET not in out.get("data", {})]
    exporter = MarkdownExporter()
    text, resources = exporter.from_notebook_node(notebook, {"output_files_dir": f"{path.stem}_files"})
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = _with_links(text, f"notebooks/{path.name}", "notebooks/x.md")
    made: dict[str, str | bytes] = {f"notebooks/{path.stem}.md": text}
    made |= {f"notebooks/{name}": content for name, content in resources["outputs"].items()}
    return made


def commands() -> str:
    """What every command says to ``--help``."""
    lines = ["# Commands", "", "What each command says to `--help`.", ""]

    def add(command: click.Command, name: str, above: click.Context | None) -> None:
        context = click.Context(command, info_name=name.split()[-1], parent=above, max_content_width=100)
        lines.extend([f"## {name}", "", "```text", command.get_help(context), "```", ""])
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                if found is not None and not found.hidden:
                    add(found, f"{name} {inner}", context)

    add(cli.main, "capsim", None)
    return "\n".join(lines)


def python() -> str:
    """The public names, with their docstrings."""
    lines = ["# Python", "", "`import capsim as cs`; each name below is `cs.NAME`.", ""]
    for name in capsim.__all__:
        thing = getattr(capsim, name)
        if hasattr(thing, "__module__"):
            lines += [f"::: {thing.__module__}.{thing.__qualname__}", ""]
    return "\n".join(lines)


def keys() -> str:
    """Every key of a scenario."""
    every = scenario_keys()
    lines = ["# Keys of a scenario", "", "What `capsim scenario keys` lists.", ""]
    lines += ["| key | unit | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{key.name}` | {key.unit} | {_cell(key.default)} | {_cell(key.meaning)} |" for key in every]
    return "\n".join(lines)


def columns() -> str:
    """Every column of the tables that stages hand to each other."""
    lines = ["# Columns of the tables", "", "Units are part of the names; see the [glossary](../glossary.md).", ""]
    for name, title in TABLES.items():
        lines += [f"## {title}", "", f"`capsim.scenario.columns.{name}`",
                  "", "| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{c.name}` | {c.dtype} | {_cell(c.meaning)} |" for c in getattr(tables, name)]
        lines.append("")
    return "\n".join(lines)


def figures() -> str:
    """Every figure of a summary."""
    worse = {True: "worse", False: "better", None: ""}
    lines = ["# Figures of a run", "", "Rows of `Run.summary`; a sweep calls each by the name of its column.", ""]
    lines += ["| figure | column | unit | meaning | more is |", "|---|---|---|---|---|"]
    lines += [
        f"| `{f.name}` | `{f.column}` | {f.unit} | {_cell(f.meaning)} | {worse[f.more_is_worse]} |"
        for f in METRICS.values()
    ]
    return "\n".join(lines)


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
