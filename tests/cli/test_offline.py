"""Nothing calls out without being asked: with every socket closed, the commands that read files still work."""

from __future__ import annotations

import socket

import pytest
from click.testing import CliRunner

from capsim.cli import main

SMALL = """\
name = "small"
workload.rate_hz = 20
workload.duration_s = 60
billing.from = 2026-02-03
"""

COMMANDS = [
    ["run", "small.toml", "--json"],
    ["scenario", "check", "small.toml"],
    ["trace", "describe", "load.csv", "--json"],
    ["trace", "import", "load.csv", "--out", "counts.csv"],
    ["inspect", "postgresql://user:word@db.example:5432/app", "--on", "2026-02-03"],
]


class Called(Exception):
    """Something asked for the network."""


@pytest.fixture
def offline(monkeypatch, tmp_path):
    def called(*where, **_):
        raise Called(where)

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, called)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, called)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    (tmp_path / "load.csv").write_text("time,count\n" + "".join(f"2026-01-05T00:0{m}:00Z,{m}\n" for m in range(9)))


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_a_command_that_reads_files_needs_no_network(offline, words):
    result = CliRunner().invoke(main, words)

    assert result.exit_code == 0, result.output
    assert not isinstance(result.exception, Called)


def test_the_door_is_closed(offline):
    with pytest.raises(Called):
        socket.create_connection(("127.0.0.1", 9))
    with pytest.raises(Called):
        socket.socket().connect(("127.0.0.1", 9))
