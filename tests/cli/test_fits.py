"""Data that is larger than what is to hold it is refused by every door."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from capsim import load, simulate
from capsim.base.errors import CapsimError
from capsim.cli import main
from capsim.scenario.file import dumps

PETABYTE = {"redis.keys": 2_000_000, "redis.value_bytes": 500_000_000}
CASES = [
    (PETABYTE, "1e.06 GB, and plan hobby lets one service have 8 GB"),
    ({"database.rows_at_start": 10**9}, "rows_at_start = 1,000,000,000 are .* GB on disk, and the volume has 5 GB"),
    ({"database.shared_buffers_mib": 10**6}, "shared_buffers_mib = 1,000,000 is more than the 7,629 MiB"),
]


@pytest.mark.parametrize(("changes", "says"), CASES)
def test_data_beyond_what_holds_it_is_refused(changes, says, tmp_path):
    spec = load("after")
    for key, value in changes.items():
        spec = spec.replace(key, value)
    (tmp_path / "x.toml").write_text(dumps(spec), encoding="utf-8")

    with pytest.raises(CapsimError, match=says):
        simulate(spec)
    for command in (["run"], ["scenario", "check"]):
        result = CliRunner().invoke(main, [*command, str(tmp_path / "x.toml")])
        assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1, result.output


def test_what_just_fits_is_taken():
    from capsim.memory.fits import check_fits

    check_fits(load("after").replace("database.rows_at_start", 3_000_000).replace("redis.keys", 5_000_000))
