"""The notebooks run from top to bottom, and still say what they said when they were committed."""

from __future__ import annotations

import builtins
import copy
import os
import re
from pathlib import Path

import pytest

from capsim.base.errors import CapsimError
from capsim.show.notebook_setup import EXTRAS
from capsim.show.notebooks import differences, executed, read

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def kept(request):
    return read(request.param)


def test_a_fresh_execution_prints_the_committed_text_and_tables(kept, tmp_path):
    fresh = executed(kept, tmp_path)  # from another folder: a notebook needs nothing beside it

    assert differences(kept, fresh) == [], "run `make notebooks` and review what changed"


def test_it_begins_with_a_question_and_its_answer(kept):
    title, first = kept.cells[:2]

    assert title.source.startswith("# ") and title.source.endswith("?")
    assert first.metadata.tags == ["answer"] and first.source.count(". ") in (0, 1) and first.source.endswith(".**")


def test_its_parameters_can_be_replaced(kept):
    assert sum("parameters" in cell.metadata.get("tags", ()) for cell in kept.cells) == 1


def opening(kept):
    """The cell of parameters and the one after it."""
    return [cell.source for cell in kept.cells if cell.cell_type == "code"][:2]


def extras_of(kept):
    """The extras that a notebook asks for."""
    return re.findall(r'extras=\("(\w+)"', opening(kept)[1])


def open_it(kept, **parameters):
    """Run what a reader runs first."""
    settings, check = opening(kept)
    names = {}
    exec(settings, names)
    exec(check, names | parameters)


def test_in_a_kernel_without_capsim_its_first_cell_says_what_to_do(kept, monkeypatch):
    real = builtins.__import__

    def without(name, *others):
        if name == "capsim":
            raise ModuleNotFoundError("No module named 'capsim'", name="capsim")
        return real(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SystemExit, match=r"no capsim in this kernel: pip install 'capsim\[notebooks\]'"):
        open_it(kept)


def test_without_its_optional_extras_its_first_cell_says_what_to_do(kept, monkeypatch):
    monkeypatch.setattr("capsim.show.notebook_setup.importlib.util.find_spec", lambda name: None)
    asked = extras_of(kept)
    if not asked:
        return open_it(kept)  # what it needs is in the core
    with pytest.raises(CapsimError, match=f"needs the extra '{asked[0]}': pip install"):
        open_it(kept)


@pytest.mark.slow
def test_a_notebook_that_asks_for_no_extra_needs_none(kept, tmp_path, monkeypatch):
    """Packages of all extras but the notebooks' own are hidden from its kernel."""
    if set(extras_of(kept)) - {"notebooks"}:
        return
    hidden = sorted({*EXTRAS.values(), "redis", "aiosqlite", "scipy", "optuna", "psycopg"} - {"ipywidgets"})
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {hidden}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    assert differences(kept, executed(kept, tmp_path)) == []


def test_without_its_load_its_first_cell_says_what_to_do(kept, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # and in another folder
    if not any("trace_name =" in cell.source for cell in kept.cells):
        return open_it(kept)
    with pytest.raises(CapsimError, match=r"absent\.csv.*cell tagged parameters"):
        open_it(kept, trace_name="absent.csv")


def test_every_cell_that_draws_shows_its_figure(kept):
    drawing = [c for c in kept.cells if c.cell_type == "code" and ("plot." in c.source or "plots." in c.source)]
    drawing = [cell for cell in drawing if cell.source.rstrip().endswith(";")]

    assert drawing
    for cell in drawing:
        assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source


def test_nothing_in_it_depends_on_the_machine(kept):
    assert set(kept.metadata) == {"kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags"} for cell in kept.cells)
    assert "/home/" not in str(kept) and str(Path(__file__).parents[2]) not in str(kept)


def test_a_drifted_number_is_found(kept):
    drifted = copy.deepcopy(kept)
    table = next(o for c in drifted.cells for o in c.get("outputs", ()) if "text/html" in o.get("data", {}))
    digit = next(character for character in table.data["text/plain"] if character.isdigit())
    table.data["text/plain"] = table.data["text/plain"].replace(digit, "x", 1)

    assert differences(kept, kept) == []
    assert len(differences(kept, drifted)) == 1


def test_a_file_that_is_no_notebook_is_refused_in_one_line(tmp_path):
    (tmp_path / "x.ipynb").write_text("{", encoding="utf-8")

    with pytest.raises(CapsimError, match=r"x\.ipynb: cannot be read"):
        read(tmp_path / "x.ipynb")
    with pytest.raises(CapsimError, match=r"absent\.ipynb: cannot be read"):
        read(tmp_path / "absent.ipynb")
