"""Where capsim's data lives."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def data_dir() -> Path:
    """The folder with the bundled scenarios, prices and traces.

    Inside an installed package it is ``capsim/_data``; in a checkout it is the repository's ``data``.

    Examples
    --------
    >>> (data_dir() / "traces").is_dir()
    True
    """
    packaged = _PACKAGE / "_data"
    return packaged if packaged.is_dir() else _PACKAGE.parents[1] / "data"


def notebooks_dir() -> Path:
    """The folder with the notebooks: ``capsim/_notebooks`` when installed, ``notebooks`` in a checkout.

    Examples
    --------
    >>> (notebooks_dir() / "00_tour.ipynb").is_file()
    True
    """
    packaged = _PACKAGE / "_notebooks"
    return packaged if packaged.is_dir() else _PACKAGE.parents[1] / "notebooks"
