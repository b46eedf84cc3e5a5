"""The one pool of processes: any number of workers gives the same answers, and a worker that dies is one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from click.exceptions import Exit
from click.testing import CliRunner

from capsim.base.errors import MachineError
from capsim.base.workers import Workers
from capsim.cli import main, worded


@pytest.mark.parametrize("count", [1, 2])
def test_answers_come_in_the_order_of_the_tasks(count):
    shares = []
    with Workers(count) as pool:
        assert pool.all([partial(pow, 2, n) for n in range(9)], shares.append) == [2**n for n in range(9)]
        assert pool.all([partial(pow, 3, 2)]) == [9]  # the same pool again

    assert shares == [pytest.approx((n + 1) / 9) for n in range(9)]


@pytest.mark.parametrize("count", [1, 2])
def test_what_a_task_raises_is_raised(count):
    with pytest.raises(ZeroDivisionError), Workers(count) as pool:
        pool.all([partial(pow, 0, -1), partial(pow, 2, 2)])


def test_a_worker_that_dies_is_the_machines_failure():
    with pytest.raises(MachineError, match="a worker process has died, probably for want"), Workers(2) as pool:
        pool.all([partial(os._exit, 9), partial(pow, 2, 2)])


def test_a_worker_that_died_between_two_jobs_is_told_too():
    """The pool is broken already when the next tasks are handed out, and none of them is out."""
    with pytest.raises(MachineError, match="a worker process has died"), Workers(2) as pool:
        (process,) = set(pool.all([os.getpid] * 1))
        os.kill(process, signal.SIGKILL)
        time.sleep(0.5)
        pool.all([partial(pow, 2, n) for n in range(9)])


def workers_of(process: int) -> list[int]:
    """Its children that wait for tasks."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("words", ["audit --replicates 1", "findings after", "optimize after"])
def test_a_killed_worker_of_a_command_is_one_line_and_exit_3(words, tmp_path):
    """What CI takes for drift is exit 1."""
    command = subprocess.Popen([sys.executable, "-m", "capsim", *words.split()], cwd=tmp_path, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    try:
        for _ in range(600):
            if (found := workers_of(command.pid)) or command.poll() is not None:
                break
            time.sleep(0.1)
        os.kill(found[0], signal.SIGKILL)
        stdout, stderr = command.communicate(timeout=60)
    finally:
        command.kill()

    assert (command.returncode, stdout) == (3, "")
    assert stderr.startswith("capsim: a worker process has died, probably for want of memory; ")
    assert stderr.count("\n") == 1


def test_memory_that_runs_out_is_one_line_and_exit_3(capsys):
    with pytest.raises(Exit) as left, worded():
        raise MemoryError("Unable to allocate 9 TiB")

    assert left.value.exit_code == 3
    assert capsys.readouterr().err == ("capsim: out of memory; use a shorter load (--from, --to) or fewer --workers\n")


def test_the_exit_codes_are_told_where_commands_are():
    assert "3    the machine failed: a worker process died" in CliRunner().invoke(main, ["--help"]).output
