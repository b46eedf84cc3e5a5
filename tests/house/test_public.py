"""What `import capsim` offers, and what it costs."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib.metadata import version

import pytest

import capsim as cs


@pytest.mark.parametrize("name", cs.__all__)
def test_every_public_name_is_there_and_explains_itself(name):
    assert getattr(cs, name).__doc__


def test_completion_lists_the_public_names():
    assert set(cs.__all__) <= set(dir(cs))


def test_an_unknown_name_is_refused_with_those_that_exist():
    with pytest.raises(AttributeError, match=r"no attribute 'simulat'; public names: .*simulate"):
        _ = cs.simulat


def test_importing_it_imports_nothing_heavy():
    code = "import sys, capsim; print(*{'numpy', 'pandas', 'matplotlib', 'simpy', 'pydantic'} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_no_module_has_the_name_of_a_public_function():
    """Importing ``capsim.x`` would otherwise put the module in the place of the function ``capsim.x``."""
    modules = {module.name for module in pkgutil.iter_modules(cs.__path__)}

    assert modules and not modules & set(cs.__all__)


def test_a_scenario_is_simulated_and_plotted_in_three_lines():
    scenario = cs.load("after").replace("workload", {"rate_hz": 5, "duration_s": 600})
    run = cs.simulate(scenario, month=False, seed=7)

    assert run.plot.memory().get_ylabel() == "memory [MiB]"


def test_it_says_its_version():
    assert cs.__version__ == version("capsim") and "__version__" in dir(cs)
