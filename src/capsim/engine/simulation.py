"""A scenario played under a load: every process of the server, and the facts that its tables are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from capsim.base.errors import CapsimError
from capsim.base.units import US_PER_S, us_from_s
from capsim.engine.database import LatencyDatabase
from capsim.engine.fidelity import Fidelity, rates_of
from capsim.engine.fleet import Fleet, Process, of_replica
from capsim.engine.happened import ATTEMPTS, Happened
from capsim.engine.law import LawDatabase, LawFleet
from capsim.engine.lives import FATAL, Fatal, lives
from capsim.engine.responses import Responses
from capsim.engine.timeline import together
from capsim.engine.visits import PARTS, VISITS
from capsim.memory import ended, of_services
from capsim.memory.limits import hung_columns
from capsim.memory.volume import filled, volume_full
from capsim.scenario import columns as tables
from capsim.scenario.scenario import Scenario
from capsim.scenario.workload import STREAMS
from capsim.workload import Load
from capsim.workload.block import Block

SERVER_COLUMNS = tuple(column for column in tables.MEMORY if column.name.startswith("server_"))
MOST_DEATHS = 50  # of one run; a server that dies more often is not worth simulating further


@dataclass(frozen=True)
class Death:
    """A process that its memory ended."""

    replica: int
    at_us: int
    end: Fatal


class Played:
    """One play of the whole load, with what is kept of it.

    Parameters
    ----------
    deaths : sequence of Death
        Ends that earlier plays of the same load have shown to come.
    keep : bool
        Whether to keep the facts of single flushes.
    windows_us : sequence of int
        Ends of the windows whose response times will be asked for, besides that of the load [us].
    """

    def __init__(
        self,
        scenario: Scenario,
        load: Load,
        *,
        seed: int,
        replicate: int,
        resolution_s: float,
        deaths: list[Death],
        keep: bool,
        windows_us: Sequence[int],
        progress: Callable[[float], None] | None,
        fidelity: Fidelity = "exact",
    ) -> None:
        self.scenario, self.end_us = scenario, load.until_us
        self.full_s: float | None = None  # from when on the volume is full, if that stops its writes [s]
        spec = scenario.server
        rows = []
        for replica in range(spec.process.replicas):
            own = [(death.at_us, death.end) for death in deaths if death.replica == replica]
            rows.append(lives(spec.process, spec.lifecycle, load.until_us, own))

        def database(replica: int) -> LatencyDatabase:
            if fidelity == "law":
                return LawDatabase(scenario.database, seed, replicate, single=not spec.writers.heartbeats.keyed)
            return LatencyDatabase(scenario.database, seed, replicate, of_replica(replica))

        bins = (us_from_s(resolution_s), load.span_us)
        blocks: Iterable[Block]
        self.fleet: Fleet
        if fidelity == "law":
            fleet = LawFleet(scenario, rates_of(scenario, seed, replicate), rows, database, *bins)
            self.fleet, blocks = fleet, fleet.blocks(load.until_us)
        else:
            self.fleet, blocks = Fleet(scenario, seed, replicate, rows, database, *bins), load.blocks()
        self.happened: list[tuple[Process, Happened]] = []
        self._waits: list[dict[str, NDArray[np.int64]]] = []
        self.responses = Responses([load.span_us, *windows_us])
        for block in blocks:
            played = self.fleet.play(block)
            self._waits += [happened.waits for _, happened in played]
            for _, happened in played:
                if happened.served is not None:
                    self.responses.add(happened.served)
            if keep:
                self.happened += played
            if progress is not None:
                progress(block.to_us / load.until_us)
        answers = [ended(process.sampler.table(), scenario) for process in self.fleet.processes]
        self._tables, self._ends = [table for table, _ in answers], [end for _, end in answers]

    def new_death(self, known: list[Death]) -> Death | None:
        """The earliest process that its memory ends, if it is not one of those known."""
        found = []
        for process, end in zip(self.fleet.processes, self._ends, strict=True):
            # A known end cuts the last bin short, which may move it by a moment: it is the same one all the same.
            if end is not None and process.life.end not in FATAL and us_from_s(end.at_s) < process.life.end_us:
                kind: Fatal = "oom-kill" if end.kind == "kill" else end.kind
                found.append(Death(process.replica, us_from_s(end.at_s), kind))
        new = [death for death in found if death not in known]
        return min(new, key=lambda death: death.at_us) if new else None

    def samples(self) -> pd.DataFrame:
        """`capsim.scenario.columns.SAMPLES` and `capsim.scenario.columns.MEMORY` of all processes together."""
        only = self.fleet.processes[0].life
        if len(self._tables) == 1 and only.accepts_to_us == only.end_us == self.end_us:
            return of_services(self._tables[0], self.scenario)
        bins = self.fleet.timeline.bins()
        samples = together([*self._tables, *self._hung(bins)], bins, (*tables.SAMPLES, *SERVER_COLUMNS))
        for stream in STREAMS:
            refused = samples[f"{stream}_refused_down"]
            samples[f"{stream}_arrived"] += refused
            samples["requests"] += refused
        return of_services(samples, self.scenario)

    def _hung(self, bins: pd.DataFrame) -> list[pd.DataFrame]:
        """What processes hold and use while they hang, in rows of their own."""
        found = []
        for process, table in zip(self.fleet.processes, self._tables, strict=True):
            life = process.life
            if life.holds_to_us is None:
                continue
            from_s, to_s = life.end_us / US_PER_S, life.holds_to_us / US_PER_S
            start = np.maximum(bins["time_s"].to_numpy(), from_s)
            width = np.minimum((bins["time_s"] + bins["width_s"]).to_numpy(), to_s) - start
            inside = width > 1e-9
            rows = tables.empty(tables.SAMPLES).reindex(range(int(inside.sum()))).fillna(0)
            hung = hung_columns(table.iloc[-1] if len(table) else None, self.scenario)
            found.append(rows.assign(time_s=start[inside], width_s=width[inside], **hung))
        return found

    def batches(self) -> pd.DataFrame:
        """`capsim.scenario.columns.BATCHES`."""
        nothing = pd.DataFrame(columns=[*ATTEMPTS, "process"], dtype=np.int64)  # a server may die at its start
        parts = [nothing, *(pd.DataFrame({**h.attempts, "process": process.number}) for process, h in self.happened)]
        parts += [self._out(process) for process in self.fleet.processes]
        table = pd.concat(parts, ignore_index=True).sort_values(["start_us", "process", "part"], kind="stable")
        table["writer"] = np.asarray(STREAMS)[table["part"].to_numpy(np.int64)]
        wanted = {c.name: c.dtype for c in tables.BATCHES}
        return table[list(wanted)].astype(wanted).reset_index(drop=True)

    @staticmethod
    def _out(process: Process) -> pd.DataFrame:
        """Attempts that are out at the end of a process."""
        rows = []
        for part, flusher in enumerate(process.server.flushers.values()):
            if flusher.out is not None and not flusher.pausing:
                batch, attempt, start_us = flusher.out
                begun = [at_us for at_us in flusher.calls_started if at_us < process.life.end_us]  # it may look ahead
                rows.append({
                    "part": part, "batch": batch.number, "attempt": attempt, "start_us": start_us, "end_us": -1,
                    "ok": 0, "rows": batch.rows, "calls": len(begun), "counted": 0,
                    "first_item": batch.first_item, "accepted_to": batch.accepted_to, "next_item": batch.next_item,
                    "process": process.number,
                })  # fmt: skip
        return pd.DataFrame(rows)

    def waits(self) -> pd.DataFrame:
        """Calls that no connection was free for when they asked."""
        names = ("part", "asked_us", "decided_us", "granted")
        none = np.empty(0, np.int64)  # no process may have lived long enough to ask
        parts = {name: np.concatenate([none, *(part[name] for part in self._waits)]) for name in names}
        return pd.DataFrame({
            "part": np.asarray(PARTS)[parts["part"]],
            "asked_s": parts["asked_us"] / US_PER_S,
            "wait_s": (parts["decided_us"] - parts["asked_us"]) / US_PER_S,
            "granted": parts["granted"].astype(bool),
        })  # fmt: skip

    def stuck(self) -> pd.DataFrame:
        """When a writer held items, had nothing out, and no timer would ever make it write them."""
        rows: list[tuple[str, float, float]] = []
        for process in self.fleet.processes:
            for stream, writer in process.server.writers.items():
                rows += [(stream, a / US_PER_S, b / US_PER_S) for a, b in writer.stuck]
                since = writer.stuck_at(process.life.end_us)
                if since is not None:
                    until = np.nan if process.life.end == "run" else process.life.end_us / US_PER_S
                    rows.append((stream, since / US_PER_S, until))
        return pd.DataFrame(rows, columns=["writer", "from_s", "to_s"])

    def visits(self) -> pd.DataFrame:
        """Cleanup runs, analytics reads and metrics calls, one row each; only with ``keep``."""
        nothing = pd.DataFrame(columns=[*VISITS, "process"], dtype=np.int64)
        parts = [nothing, *(pd.DataFrame({**h.visits, "process": process.number}) for process, h in self.happened)]
        table = pd.concat(parts, ignore_index=True).sort_values(["start_us", "part", "number"], kind="stable")
        table["part"] = np.asarray(PARTS)[table["part"].to_numpy(np.int64)]
        return table.reset_index(drop=True)

    def lives(self) -> pd.DataFrame:
        """One row a process: replica, times, how it ended, and what it held then."""
        rows = [
            {
                "process": process.number,
                "replica": process.replica,
                "start_s": process.life.start_us / US_PER_S,
                "healthy_s": process.life.accepts_from_us / US_PER_S,
                "end_s": process.life.end_us / US_PER_S,
                "end": process.life.end,
                "lost_items": sum(process.lost.values()),
            }
            for process in self.fleet.processes
        ]
        return pd.DataFrame(rows)


def play(
    scenario: Scenario,
    load: Load,
    *,
    seed: int,
    replicate: int,
    resolution_s: float,
    keep: bool,
    windows_us: Sequence[int] = (),
    progress: Callable[[float], None] | None,
    fidelity: Fidelity = "exact",
) -> tuple[Played, list[Death]]:
    """Play a load, again from the start whenever something turns out on the way that changes all that follows.

    That is the memory of a process, which ends it: what a death loses and when the next process is up needs a play with
    one death more for each; deaths are rare, and a deployment that has used up its restarts stays down. And it is the
    volume of Postgres, which is full once, if the scenario says that writes fail then.
    """
    deaths: list[Death] = []
    full_s: float | None = None
    while True:
        played = Played(
            scenario if full_s is None else filled(scenario, full_s, load.until_us / US_PER_S),
            load,
            seed=seed,
            replicate=replicate,
            resolution_s=resolution_s,
            deaths=deaths,
            keep=keep,
            windows_us=windows_us,
            progress=progress,
            fidelity=fidelity,
        )
        death = played.new_death(deaths)
        if death is not None and fidelity == "law":
            raise CapsimError(
                f"{scenario.name}: fidelity law: the server runs out of heap {death.at_us / US_PER_S:,.0f} s after the "
                "start of the load, and what a death loses is told of single requests; use fidelity exact, or raise "
                "server.node.heap_cap_mib"
            )
        if death is not None and len(deaths) < MOST_DEATHS:
            deaths = [*deaths, death]
            continue
        if full_s is None and scenario.database.stops_when_full:
            full = volume_full(played.samples(), scenario)
            if full is not None and full.simulated:
                full_s = full.at_s
                deaths = [death for death in deaths if death.at_us < us_from_s(full_s)]
                continue
        played.full_s = full_s
        return played, deaths
