"""`capsim lab` opens the tour, where it is or in a copy."""

from __future__ import annotations

import os

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


def test_in_a_checkout_they_are_opened_where_they_are(started, tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_tour.ipynb").write_text("{}")
    lab("--port", "0")

    assert f"--ServerApp.root_dir={tmp_path / 'notebooks'}" in started[0] and "--ServerApp.port=0" in started[0]
    assert not (tmp_path / "capsim-notebooks").exists()
