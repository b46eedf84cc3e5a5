"""A notebook runs on other inputs, and says what is wrong with them in one line."""

from __future__ import annotations

import nbformat
import pytest

import capsim as cs
from capsim.base.errors import CapsimError
from capsim.cli import main
from capsim.show.notebook_setup import EXTRAS, Missing, ready
from capsim.show.notebooks import report, tidied


@pytest.fixture
def notebook(tmp_path):
    cells = [
        nbformat.v4.new_markdown_cell("# How much?"),
        nbformat.v4.new_code_cell('trace_name = "game-day"\nseed = 0', metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("import capsim as cs\ntrace = cs.ready(trace_name)\nprint(trace.name, trace.total)"),
        nbformat.v4.new_code_cell("trace.plot.rate();"),
    ]
    path = tmp_path / "small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def told(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code, capsys.readouterr().err


def test_a_report_runs_on_another_load_and_needs_no_other_file(notebook, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("time,requests\n2026-01-01T00:00:00Z,7\n2026-01-01T00:01:00Z,9\n")
    before = notebook.read_bytes()

    code, said = told(capsys, "report", str(notebook), "--trace", "mine.csv", "--out", "page.html")

    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert code == 0 and "wrote page.html" in said
    assert "mine 16" in page and "<title>How much?</title>" in page
    assert 'alt="Figure of the section' in page and "data:image/png" in page
    assert 'src="http' not in page and notebook.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.ipynb"], "absent.ipynb: cannot be read"),
        (["small.ipynb", "--trace", "gane-day"], "did you mean 'game-day'?"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments, said, notebook, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, error = told(capsys, "report", *arguments)

    assert code == 2 and said in error and error.count("\n") == 1
    assert not list(tmp_path.glob("*.html"))


def test_a_parameter_that_the_notebook_lacks_is_named(notebook, tmp_path):
    with pytest.raises(CapsimError, match="has no parameter rate_hz; its parameters: trace_name, seed"):
        report(notebook, {"rate_hz": 3}, tmp_path)


def test_a_failing_cell_is_one_line(tmp_path):
    path = tmp_path / "bad.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), path)

    with pytest.raises(CapsimError, match="a cell fails: ZeroDivisionError: division by zero") as raised:
        report(path, {}, tmp_path)
    assert len(raised.value.problems) == 1


def test_the_first_cell_says_what_to_do_about_a_missing_load_and_a_missing_extra(monkeypatch):
    monkeypatch.setitem(EXTRAS, "sweep", "a_package_that_nobody_has")

    with pytest.raises(Missing) as raised:
        ready("absent.csv", extras=("sweep",))
    extra, load = raised.value.problems
    assert "pip install 'capsim[sweep]'" in extra
    assert "absent.csv: no such trace file" in load and "the cell tagged parameters" in load
    assert "".join(raised.value._render_traceback_()).count("Traceback") == 0


def test_ready_reads_the_load():
    assert cs.ready("game-day").total == cs.read_trace(cs.find_trace("game-day")).total
    assert ready() is None


def test_widgets_and_progress_are_not_kept_in_a_notebook():
    data = {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "VBox()"}
    outputs = [
        nbformat.v4.new_output("display_data", data=data),
        nbformat.v4.new_output("stream", name="stderr", text="50 %"),
        nbformat.v4.new_output("stream", name="stdout", text="kept"),
    ]
    cell = nbformat.v4.new_code_cell("x", outputs=outputs)

    kept = tidied(nbformat.v4.new_notebook(cells=[cell])).cells[0].outputs

    assert [output.text for output in kept] == ["kept"]
