"""Processes come and go as the platform has it."""

from __future__ import annotations

from capsim.engine.lives import lives
from capsim.scenario.server import LifecycleSpec, ProcessSpec

S = 1_000_000
HOUR = 3_600 * S


def deploy(at_s: float, every_s: float | None = None) -> LifecycleSpec:
    return LifecycleSpec(kind="deploy", at_s=at_s, every_s=every_s)


def crash(at_s: float, every_s: float | None = None) -> LifecycleSpec:
    return LifecycleSpec(kind="crash", at_s=at_s, every_s=every_s)


def test_without_events_there_is_one_process_from_the_start_to_the_end() -> None:
    (life,) = lives(ProcessSpec(start_s=5), [], HOUR)

    assert (life.accepts_from_us, life.accepts_to_us, life.end_us, life.end) == (0, HOUR, HOUR, "run")


def test_a_deploy_gives_requests_to_the_new_process_as_soon_as_it_is_healthy() -> None:
    process = ProcessSpec(migration_s=3, start_s=4, overlap_s=2, draining_s=10, handles_sigterm=True)

    old, new = lives(process, [deploy(100)], HOUR)

    assert new.start_us == 100 * S
    assert old.accepts_to_us == new.accepts_from_us == 107 * S
    assert old.sigterm_us == 109 * S
    assert (old.end_us, old.end) == (119 * S, "killed")


def test_without_draining_time_a_shutdown_never_runs() -> None:
    old, _ = lives(ProcessSpec(handles_sigterm=True), [deploy(100)], HOUR)

    assert old.sigterm_us is None
    assert old.end_us == 100 * S


def test_a_package_manager_that_swallows_sigterm_leaves_the_process_running_until_it_is_killed() -> None:
    old, _ = lives(ProcessSpec(handles_sigterm=False, draining_s=10), [deploy(100)], HOUR)

    assert old.sigterm_us is None
    assert old.end_us == 110 * S


def test_a_crash_is_followed_by_a_restart() -> None:
    old, new = lives(ProcessSpec(migration_s=2, start_s=3, restart_delay_s=1), [crash(60)], HOUR)

    assert (old.end_us, old.end) == (60 * S, "crash")
    assert new.accepts_from_us == 66 * S


def test_after_ten_restarts_the_deployment_stays_down_until_the_next_deploy() -> None:
    events = [crash(10, every_s=10), deploy(1_800)]

    before = [life for life in lives(ProcessSpec(), events, HOUR) if life.start_us < 1_800 * S]
    after = [life for life in lives(ProcessSpec(), events, HOUR) if life.start_us >= 1_800 * S]

    assert len(before) == 11
    assert before[-1].end == "crash"
    assert before[-1].end_us == 110 * S
    assert len(after) == 11  # the new deployment has restarts of its own


def test_a_crash_while_nothing_is_healthy_hits_nothing() -> None:
    process = ProcessSpec(start_s=30, restart_delay_s=1)

    assert len(lives(process, [crash(60), crash(70)], HOUR)) == 2
