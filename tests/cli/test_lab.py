"""`capsim lab` opens the tour, where it is or in a copy."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from capsim.cli import main


@pytest.fixture
def started(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: found.append(arguments))
    return found


def lab(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["lab", *arguments])
    assert ended.value.code == 0


def test_the_notebooks_are_copied_and_a_changed_one_stays(started, tmp_path):
    lab("--no-show")
    tour = tmp_path / "capsim-notebooks" / "00_tour.ipynb"
    tour.write_text("mine")
    lab("--no-show")

    assert tour.read_text() == "mine"
    assert (tmp_path / "capsim-notebooks" / "01_trace.ipynb").is_file()
    assert f"--ServerApp.root_dir={tour.parent}" in started[1]
    assert "--LabApp.default_url=/lab/tree/00_tour.ipynb" in started[1]
    assert "--ServerApp.open_browser=False" in started[1]


def test_options_of_jupyterlab_are_passed_on(started):
    lab("--allow-root", "--no-show", "--ip=0.0.0.0", "--port", "0", "--IdentityProvider.token", "x")

    assert started[0][-4:] == ["--allow-root", "--ip=0.0.0.0", "--IdentityProvider.token", "x"]
    assert "--ServerApp.open_browser=False" in started[0] and "--ServerApp.port=0" in started[0]


def test_a_file_of_this_folder_is_not_run_in_its_place(tmp_path):
    """`python -m jupyterlab` would find it first."""
    pytest.importorskip("jupyterlab")
    (tmp_path / "jupyterlab.py").write_text("print('somebody else\\'s')")
    done = subprocess.run([sys.executable, "-m", "capsim", "lab", "--version"], cwd=tmp_path, capture_output=True,
                          text=True, env={**os.environ, "PYTHONSAFEPATH": ""}, check=True)  # fmt: skip

    assert done.stdout.strip() == version("jupyterlab")


def test_in_a_checkout_they_are_opened_where_they_are(started, tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_tour.ipynb").write_text("{}")
    lab("--port", "0")

    assert f"--ServerApp.root_dir={tmp_path / 'notebooks'}" in started[0] and "--ServerApp.port=0" in started[0]
    assert not (tmp_path / "capsim-notebooks").exists()
