"""The birth certificate of a run: what it takes to repeat it, and nothing that differs between machines."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from capsim.scenario.scenario import Scenario

# Those whose version can change a number: drawing, integrating, ordering of events, validation of input.
LIBRARIES = ("numpy", "pandas", "pydantic", "simpy")
MACHINE_PATHS = ("/", "./", "../", "~/")


def versions() -> dict[str, str]:
    """Versions of capsim, of Python and of the libraries that take part in the arithmetic.

    Examples
    --------
    >>> sorted(versions())
    ['capsim', 'numpy', 'pandas', 'pydantic', 'python', 'simpy']
    """
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    """Read once: the files of the installed packages take longer to read than a short run to play."""
    found = {name: version(name) for name in ("capsim", *LIBRARIES)}
    return {**found, "python": platform.python_version()}


def certificate(
    scenario: Scenario, load: Mapping[str, Any], *, seed: int, replicate: int = 0, fidelity: str = "exact"
) -> dict[str, Any]:
    """Everything needed to repeat a run: scenario, load, seed, versions.

    Parameters
    ----------
    scenario : Scenario
        As simulated.
    load : mapping
        What the load says of itself; with a trace its name and sha256.
    seed, replicate : int
        The address of the run's chance.
    fidelity : {"exact", "law"}
        How it was played.

    Returns
    -------
    dict
        Plain data. No times, no host, no folder names: another machine gives the same certificate.

    Examples
    --------
    >>> spec = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> certificate(spec, {"name": "x"}, seed=7)["seed"]
    7
    """
    return {
        "scenario": portable(scenario.model_dump(mode="json", by_alias=True)),
        "load": portable(dict(load)),
        "seed": seed,
        "replicate": replicate,
        "fidelity": fidelity,
        "versions": versions(),
    }


def portable(value: Any) -> Any:
    """The same data with every file path that depends on the machine cut down to the file's name.

    Examples
    --------
    >>> portable({"trace": "/home/me/day.csv", "rule": "uniform within 1/60 h"})
    {'trace': 'day.csv', 'rule': 'uniform within 1/60 h'}
    """
    if isinstance(value, Mapping):
        return {str(key): portable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(item) for item in value]
    if isinstance(value, str) and (value.startswith(MACHINE_PATHS) or PureWindowsPath(value).drive):
        return PurePosixPath(value.replace("\\", "/")).name
    return value
