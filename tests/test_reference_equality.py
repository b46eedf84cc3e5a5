"""In virtual time the model and the reference, given the same arrivals and durations, agree item for item."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from capsim.reference.clock import Phase
from capsim.reference.database import Outcome, Statement, TimedDatabase
from capsim.reference.log import Log
from capsim.reference.recorder import Recorder
from capsim.reference.replay import Replay
from capsim.reference.server import Ingestion
from capsim.reference.virtual import VirtualLoop
from capsim.reference.watch import Tried
from capsim.server.database import LatencyDatabase
from capsim.server.database import Statement as ModelStatement
from capsim.server.model import Happened
from capsim.specs import STREAMS, Scenario
from test_model_twin import SEED, facts_of_model, played_by_model
from twin_random import Case, describe, random_case

ITEMS = ("writer", "batch", "attempt", "first_item", "accepted_to", "next_item")


def shared_database(loop: VirtualLoop, scenario: Scenario) -> TimedDatabase:
    """The model's draws, by address: only the rules are compared, not the arithmetic of a latency."""
    database = LatencyDatabase(scenario.database, SEED, 0)

    def lasts(statement: Statement, start_us: int) -> tuple[int, Outcome]:
        kind = "insert" if statement.operation.startswith("insert") else "update"
        asked = ModelStatement(kind, statement.item, len(statement.values))  # type: ignore[arg-type]
        outcome = database.run(statement.part, statement.attempt, asked, start_us)  # type: ignore[arg-type]
        return outcome.duration_us, outcome.result

    return TimedDatabase(loop, lasts, round(scenario.database.connect_ms * 1000))


def facts_of_reference(case: Case) -> dict[str, object]:
    recorder = Recorder()
    loop = VirtualLoop(after_instant=lambda now_us: recorder.note_stuck(server.writers, now_us))
    server = Ingestion(case.scenario.server, loop, shared_database(loop, case.scenario), Log(), recorder)
    for stream in STREAMS:
        sessions = case.sessions if stream == "heartbeats" else None

        def offer(i: int, stream=stream, sessions=sessions) -> None:
            server.offer(stream, SimpleNamespace(session_id=i if sessions is None else sessions[i]))

        Replay(loop, case.arrivals[stream], offer)
    if case.shutdown_us is not None:
        loop.at(case.shutdown_us, Phase.SHUTDOWN, lambda: keep.append(loop.create_task(server.shutdown())))
    keep: list[object] = []
    loop.run_to(case.end_us)
    facts: dict[str, object] = {
        stream: {
            "attempts": [
                (t.batch, t.attempt, t.start_us, t.end_us, int(t.ok), t.rows, t.calls, t.counted, t.first_item)
                for t in [*recorder.tries, *([writer.out] if writer.out and writer.out.end_us == -1 else [])]
                if t.writer == stream
            ],
            "written": writer.flushed,
            "dropped_cap": writer.dropped_cap,
            "refused": writer.dropped_cap,
            "stored": writer.stored - writer.replaced,
            "dropped_failed": writer.dropped_failed,
            "failed_batches": writer.failed,
            "rejected": writer.rejected,
            "buffered": writer.count,
            "in_flight": writer.in_flight,
            "stuck": recorder.stuck[stream],
            "requests": writer.requests,
        }
        for stream, writer in server.writers.items()
    }
    facts["waits"] = sorted(
        (part, asked, granted) for part, asked, granted, ok in recorder.waits if ok and granted > asked
    )
    facts["items"] = [tuple(getattr(t, name) for name in ITEMS) for t in sorted(recorder.tries, key=_in_order)]
    loop.close()
    return facts


def _in_order(tried: Tried) -> tuple[int, int, int]:
    return STREAMS.index(tried.writer), tried.batch, tried.attempt


def items_of_model(happened: list[Happened]) -> list[tuple[object, ...]]:
    """Which arrivals each attempt was about, in the order of `_in_order`."""
    columns = ("part", *ITEMS[1:])
    rows = [
        row for block in happened for row in zip(*(block.attempts[name].tolist() for name in columns), strict=True)
    ]
    return [(STREAMS[part], *rest) for part, *rest in sorted(rows)]


@pytest.mark.parametrize("fifty", range(10))
def test_model_and_reference_agree_item_for_item(fifty: int) -> None:
    """500 scenarios with faults, ties and shutdowns, three writers coupled on one pool."""
    for number in range(50 * fifty, 50 * (fifty + 1)):
        case = random_case(random.Random(f"reference {number}"))
        reference = facts_of_reference(case)
        server, happened = played_by_model(case, blocks=1 + number % 4)
        model = facts_of_model(server, happened, case.end_us) | {"items": items_of_model(happened)}
        for name, expected in reference.items():
            assert model[name] == expected, f"scenario {number}: {name} differs; rerun it:\n{describe(case)}"
