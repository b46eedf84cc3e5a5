"""The engine for a cluster: Dask, loaded when it is asked for (extra ``scale``).

The job travels once to each worker, also to those that join later, as a plugin; tasks and rows are small. A worker
that is lost is no error: its tasks go to the others.
"""

from __future__ import annotations

import itertools
import logging
import pickle
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

from capsim.base.errors import CapsimError, MachineError
from capsim.results.provenance import versions
from capsim.study.sweeps.point import Job, Outcome, Task, place, run_task

LOCAL = "local"  # in place of an address: a cluster on this machine
AHEAD = 4  # tasks handed out for each thread: a scheduler with a million tasks is slow
CONNECT_S = 15
RETRIES = 3  # workers that may die over one task
PLUGIN = "capsim-sweep"


def dask(
    job: Job, tasks: Iterable[Task], address: str, workers: int, announce: Any = None
) -> Iterator[Outcome]:
    """On a Dask cluster.

    Parameters
    ----------
    address : str
        Of the scheduler, or ``"local"`` for a cluster of ``workers`` processes on this machine.
    announce : callable, optional
        Told where the dashboard is.

    Raises
    ------
    CapsimError
        If the extra is missing, the cluster cannot be reached or runs other versions, a run fails, or workers keep
        dying over one.
    """
    try:
        import distributed
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise CapsimError("--dask needs the extra 'scale': pip install 'capsim[scale]'") from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is told by the errors below
    cluster = None
    client = None
    try:
        if address == LOCAL:
            import dask.config

            dask.config.set({"distributed.scheduler.allowed-failures": RETRIES})
            cluster = distributed.LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
            )
        client = _connected(cluster or address)
        if announce is not None:
            announce(client.dashboard_link)
        _check_versions(client, address)
        client.register_plugin(_plugin()(pickle.dumps(job)), name=PLUGIN)
        yield from _collected(client, tasks, KilledWorker)
    finally:
        if client is not None:
            with suppress(Exception):
                client.unregister_worker_plugin(PLUGIN)
            client.close()
        if cluster is not None:
            cluster.close()


def _plugin() -> Any:
    from distributed import WorkerPlugin

    class Carrier(WorkerPlugin):
        """Brings the job to a worker, once."""

        job: Job

        def __init__(self, packed: bytes) -> None:
            self.packed = packed

        def setup(self, worker: Any) -> None:
            self.job = pickle.loads(self.packed)

    return Carrier


def _connected(place_of_it: Any) -> Any:
    from distributed import Client

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # versions are compared below
            return Client(place_of_it, timeout=CONNECT_S)  # type: ignore[no-untyped-call]
    except Exception as error:  # a mistyped address, a refused connection, another protocol: the same remedy
        raise CapsimError(
            f"--dask {place_of_it}: no Dask scheduler answers there ({_short(error)}); "
            "start one with `dask scheduler`, and give the address that it prints"
        ) from error


def _check_versions(client: Any, address: str) -> None:
    """Refuse workers whose versions could give other numbers, naming the first difference."""
    try:
        theirs = client.run(versions)
    except Exception as error:  # unpickling fails where capsim is absent
        raise CapsimError(
            f"--dask {address}: a worker cannot run capsim ({_short(error)}); install the same version on all of them"
        ) from error
    if not theirs:
        raise CapsimError(
            f"--dask {address}: the cluster has no workers; start some with `dask worker {address}`"
        )
    refuse_others({str(worker): found for worker, found in theirs.items()}, f"--dask {address}")


def refuse_others(theirs: dict[str, dict[str, str]], where: str) -> None:
    """Compare versions of workers with those here.

    Raises
    ------
    CapsimError
        At the first difference.
    """
    mine = versions()
    for worker, found in sorted(theirs.items()):
        for name in mine:
            if found.get(name) != mine[name]:
                raise CapsimError(
                    f"{where}: worker {worker} has {name} {found.get(name, 'not at all')}, here it is {mine[name]}; "
                    "the same versions give the same bytes: install capsim's lock on both sides"
                )


def _run(task: Task, expected: dict[str, str]) -> Outcome:
    """On a worker; one that joined late is compared, too."""
    from distributed import get_worker

    worker = get_worker()
    if versions() != expected:
        refuse_others({worker.address: versions()}, "--dask")
    return run_task(worker.plugins[PLUGIN].job, task)  # type: ignore[attr-defined]


def _collected(client: Any, tasks: Iterable[Task], killed: type[Exception]) -> Iterator[Outcome]:
    from distributed import as_completed

    mine = versions()
    source = iter(tasks)
    known: dict[str, Task] = {}
    number = itertools.count()

    def submitted() -> Any:
        task = next(source, None)
        if task is None:
            return None
        future = client.submit(_run, task, mine, pure=False, key=f"{PLUGIN}-{uuid4().hex}-{next(number)}")
        known[future.key] = task
        return future

    threads = max(sum(client.nthreads().values()), 1)
    first = [future for _ in range(AHEAD * threads) if (future := submitted()) is not None]
    if not first:
        return
    queue: Any = as_completed(first)  # type: ignore[no-untyped-call]
    for future in queue:
        try:
            outcome = future.result()
        except killed:
            raise MachineError(
                f"{place(known[future.key])}: workers of the cluster have died over it {RETRIES + 1} times, probably "
                "for want of memory; give them more, or shorten the load, and --resume"
            ) from None
        except CapsimError:
            raise
        except Exception as error:
            raise CapsimError(f"{place(known[future.key])}: lost by the cluster ({_short(error)}); --resume") from error
        del known[future.key]
        if (following := submitted()) is not None:
            queue.add(following)
        yield Outcome(*outcome)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else f"{text[:117]}..."
