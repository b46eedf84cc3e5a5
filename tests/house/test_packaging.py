"""What is installed is what is written down, on every road to it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CORE = PROJECT["project"]["dependencies"]
OPTIONAL = PROJECT["project"]["optional-dependencies"]
HEAVY = {"node"}  # an executable of 200 MB that only `capsim measure` wants: pinned where it is named, in no lock
EXTRAS = [line for name, lines in OPTIONAL.items() if name not in HEAVY for line in lines]
GROUPS = PROJECT["dependency-groups"]
CONDA_NAMES = {"matplotlib-base": "matplotlib", "python-duckdb": "duckdb", "redis-py": "redis"}  # conda-forge: PyPI
RUN, TEST = ROOT / "requirements/run.txt", ROOT / "requirements/test.txt"


def specifiers(lines: list[str], names: dict[str, str] | None = None) -> dict[str, str]:
    """Version bounds by package name, in PyPI's spelling."""
    wanted = [Requirement(line) for line in lines]
    return {canonicalize_name((names or {}).get(w.name, w.name)): str(w.specifier) for w in wanted}


def locked(path: Path) -> dict[str, str]:
    """Pinned versions of a lock by package name."""
    return dict(re.findall(r"^([\w.-]+)==([\w.+!]+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_conda_users_get_the_same_bounds_as_pip_users():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    python = next(line for line in conda if str(line).startswith("python>"))

    assert python == f"python{PROJECT['project']['requires-python']}"
    by_pip = [line for group in conda if isinstance(group, dict) for line in group["pip"]]
    rest = [line for line in conda if isinstance(line, str) and line not in (python, "pip")] + by_pip
    assert specifiers(rest, CONDA_NAMES) == specifiers(CORE + EXTRAS + GROUPS["build"])


@pytest.mark.parametrize(
    ("lock", "lines"),
    [(RUN, CORE + GROUPS["build"]), (TEST, CORE + EXTRAS + GROUPS["build"] + GROUPS["dev"])],
    ids=["run", "test"],
)
def test_the_lock_pins_everything_that_pyproject_asks_for(lock, lines):
    pins = locked(lock)

    for line in lines:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pins.get(canonicalize_name(wanted.name), "0")), line


def test_what_no_lock_holds_is_pinned_where_it_is_named():
    assert all(re.fullmatch(r"[\w.-]+==[\d.]+", line) for name in HEAVY for line in OPTIONAL[name])


def test_make_run_and_make_test_install_the_same_versions():
    pins = locked(TEST)

    assert {name: pins.get(name) for name in locked(RUN)} == locked(RUN)


@pytest.mark.parametrize("lock", [RUN, TEST], ids=["run", "test"])
def test_every_pin_has_hashes_and_the_lock_names_no_address(lock):
    text = lock.read_text(encoding="utf-8")

    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert re.match(r"[\w.-]+==[^ ]+.*\\\n    --hash=sha256:[0-9a-f]{64}", entry), entry[:80]
    assert not re.search(r"://|^-|file:|@ ", text, flags=re.MULTILINE)


def test_the_version_is_the_same_everywhere():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert version("capsim") == PROJECT["project"]["version"]
    assert re.search(r"^## (\S+)", changelog, flags=re.MULTILINE)[1] == PROJECT["project"]["version"]


@pytest.mark.parametrize("module", ["capsim", "capsim.cli"])
def test_importing_capsim_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"pandas", "matplotlib", "scipy", "duckdb"} & set(done.stdout.split())


def test_every_make_target_that_the_readme_names_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`?make ([a-z-]+)\b", (ROOT / "README.md").read_text(encoding="utf-8")))

    assert named <= set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
