"""The documentation is built without a warning, from what stands in the repository, and asks nobody for anything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import capsim
from capsim.scenario.file import keys

pytest.importorskip("mkdocs", reason="the group docs is not installed")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder))
        config.plugins.on_startup(command="build", dirty=False)
        build(config)  # strict: any warning ends it
        config.plugins.on_shutdown()
    return folder


def test_every_notebook_page_and_public_name_is_in_it(site: Path) -> None:
    for page in sorted((ROOT / "docs").rglob("*.md")):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), page
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert (site / "notebooks" / f"{notebook.stem}.html").is_file()
    python = (site / "reference/python.html").read_text(encoding="utf-8")
    assert all(re.search(rf'id="capsim\.[\w.]*{name}"', python) for name in capsim.__all__ if name != "plots")
    page = (site / "reference/keys.html").read_text(encoding="utf-8")
    assert all(f"<code>{key.name}</code>" in page for key in keys())


def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in sorted(site.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=[\"']?(https?:[^\"'\s>]+)", text)
        assert not loaded, f"{page.name}: {loaded[:3]}"
