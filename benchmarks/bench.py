"""The same work for capsim and for other engines, side by side: CPU, wall time and memory, as ratios in one run.

Every repetition is a fresh process of the engine's own environment; the engines take turns, so that a slow moment of
the machine falls on all of them. Input (arrivals, services, durations of flushes) is made once and handed to all, and
counted for none; all have to report the same results. Loading Python and libraries, and compiling, is not counted. A
job of less than 0.1 s is done several times in the process, and its middle time counts.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from capsim.base.rng import generator

HERE = Path(__file__).parent
ENGINES = HERE / "engines"
PEERS: Mapping[str, dict[str, Any]] = tomllib.loads((ENGINES / "peers.toml").read_text(encoding="utf-8"))
PLAIN = "simpy_processes"  # the base of all ratios
HOUR_US = 3_600_000_000
SERVICE_US = 1_000_000
CUSTOMERS = 20_000


class Job(NamedTuple):
    """Work that an engine is given."""

    title: str
    name: str
    items: int
    given: dict[str, Any]


def queue(servers: int, load: float) -> Job:
    """M/M/c under a load, in (0, 1)."""
    draws = generator(7, 0, f"bench queue {servers} {load}")
    at_us = np.cumsum(np.rint(draws.exponential(SERVICE_US / (servers * load), CUSTOMERS)).astype(np.int64))
    service_us = np.rint(draws.exponential(SERVICE_US, CUSTOMERS)).astype(np.int64)
    kind = f"M/M/{servers}"
    given = {"at_us": at_us, "service_us": service_us, "servers": servers}
    return Job(f"{kind}, utilisation {load:g}, {CUSTOMERS:,} customers", "queue", CUSTOMERS, given)


def writer(rate_hz: float) -> Job:
    """One hour of the batch writer: flush at 100 or after 5 s, 20 ms median (lognormal, sigma 0.5), cap 1,000."""
    draws = generator(7, 0, f"bench writer {rate_hz}")
    mean = rate_hz * 3_600
    at_us = np.cumsum(draws.exponential(1e6 / rate_hz, int(mean + 10 * mean**0.5 + 10))).astype(np.int64)
    at_us = at_us[at_us < HOUR_US]
    duration_us = np.rint(20_000 * draws.lognormal(0.0, 0.5, len(at_us) + 1)).astype(np.int64)
    given = {"at_us": at_us, "duration_us": duration_us, "end_us": HOUR_US + 60_000_000}
    return Job(f"batch writer, one hour at {rate_hz:g}/s, {len(at_us):,} arrivals", "writer", len(at_us), given)


def jobs() -> Iterator[Job]:
    """All jobs, the short ones first."""
    yield queue(1, 0.8)
    yield queue(5, 0.8)
    yield from (writer(rate_hz) for rate_hz in (10, 100, 1_000))


def base_of(engine: str) -> str | None:
    """The Python that an engine's environment is made from, or None where there is none new enough."""
    wanted = PEERS[engine].get("python")
    if wanted is None:
        return sys.executable
    kept = sorted(Path.home().glob(f".pyenv/versions/{wanted}.*/bin/python"))
    return str(kept[-1]) if kept else shutil.which(f"python{wanted}")


def python_of(engine: str, folder: Path) -> str:
    """An interpreter that has what the engine needs; made when it is first asked for."""
    wanted, base = PEERS[engine].get("requirements"), base_of(engine)
    assert base is not None, f"{engine} is left out"
    if wanted is None:
        return base
    name = "-".join(sorted(requirement.replace("==", "_") for requirement in wanted))
    made = folder / name
    python = made / "bin" / "python"
    if not python.exists():
        print(f"installing {', '.join(wanted)}", file=sys.stderr, flush=True)
        subprocess.run([base, "-m", "venv", str(made)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
        if subprocess.run(command, check=False).returncode:
            shutil.rmtree(made, ignore_errors=True)
            raise SystemExit(f"bench: {', '.join(wanted)} could not be installed; is a package index reachable?")
    return str(python)


def played(job: Job, engines: list[str], repeats: int, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What each engine reported, repetition by repetition."""
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        given = Path(temporary) / "given.npz"
        np.savez(given, **{key: np.asarray(value) for key, value in job.given.items()})
        fit = [engine for engine in engines if job.items <= PEERS[engine].get("most_items", job.items)]
        for _ in range(repeats):
            for engine in fit:
                command = [python_of(engine, folder), str(ENGINES / f"{engine}.py"), job.name, str(given)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                report = json.loads(done.stdout)
                if report is not None:
                    found.setdefault(engine, []).append(report)
    results = {json.dumps([float(n) for n in reports[0]["result"]]) for reports in found.values()}
    if len(results) > 1:
        told = {engine: reports[0]["result"] for engine, reports in found.items()}
        raise SystemExit(f"bench: {job.title}: the engines disagree: {told}")
    return found


def rows_of(found: Mapping[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Rows of the table of one job."""
    middle = {engine: statistics.median(r["cpu_s"] for r in reports) for engine, reports in found.items()}
    for engine, reports in sorted(found.items(), key=lambda entry: -middle[entry[0]]):
        cpu_ms = sorted(1e3 * report["cpu_s"] for report in reports)
        ratios = [a["cpu_s"] / b["cpu_s"] for a, b in zip(found[PLAIN], reports, strict=True)]
        wall_ms = 1e3 * statistics.median(report["wall_s"] for report in reports)
        first_ms = 1e3 * statistics.median(report["first_cpu_s"] for report in reports)
        memory_mib = statistics.median(report["added_mib"] for report in reports)
        yield (
            f"| {PEERS[engine]['title']} | {1e3 * middle[engine]:,.3g} ({cpu_ms[0]:,.3g} to {cpu_ms[-1]:,.3g}) "
            f"| {first_ms:,.3g} | {wall_ms:,.3g} | {statistics.median(ratios):,.3g} | {memory_mib:,.1f} |"
        )


def machine() -> str:
    """The machine, in words."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} CPUs of {model}, {platform.system()}, Python {platform.python_version()}{load}"


def main() -> int:
    """Run all jobs and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="of every job by every engine (5)")
    parser.add_argument("--engines", nargs="*", choices=PEERS, default=list(PEERS), help="which to compare (all)")
    parser.add_argument("--envs", type=Path, default=HERE / ".envs", help="where their environments are kept")
    parser.add_argument("--out", type=Path, help="write the tables here too")
    options = parser.parse_args()
    engines = [PLAIN, *(engine for engine in options.engines if engine != PLAIN)]
    for engine in [engine for engine in engines if base_of(engine) is None]:
        print(f"{PEERS[engine]['title']} is left out: no Python {PEERS[engine]['python']} here", file=sys.stderr)
        engines.remove(engine)
    versions = {need for engine in engines for need in PEERS[engine].get("requirements", ())}
    lines = [
        "# Speed beside other engines",
        "",
        f"Measured on {dt.date.today()} by `make bench`: {machine()}.",
        f"Median of {options.repeats}, with the smallest and the largest.",
        f"Versions: {', '.join(sorted(versions))}.",
    ]
    print("\n".join(lines), flush=True)
    for job in jobs():
        table = [
            "",
            f"## {job.title}",
            "",
            "| engine | CPU ms | the first time | wall ms | times plain SimPy | memory added MiB |",
            "|---|--:|--:|--:|--:|--:|",
            *rows_of(played(job, engines, options.repeats, options.envs)),
        ]
        print("\n".join(table), flush=True)
        lines += table
    if options.out:
        part = options.out.with_suffix(".part")
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
        part.replace(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
