"""One run's peak is one draw where reads come by chance; its spread is shown where it decides."""

from __future__ import annotations

import json

from click.testing import CliRunner

from capsim.cli import main
from capsim.results.document import result_of
from capsim.results.spread import wanted, with_spread
from capsim.scenario.file import dumps, load
from capsim.show.headline import answer
from fake_run import SCENARIO, FakeRun


def test_the_spread_is_shown_where_it_decides():
    result = result_of([FakeRun()])
    wide, narrow = with_spread(result, [195.0, 243.0, 432.0]), with_spread(result, [240.0, 243.0])
    figures = {m.metric: m.value for m in wide.summary["trace"]}

    assert (figures["server_rss_peak_lowest"], figures["server_rss_peak_highest"]) == (195, 432)
    assert any("195 to 432 MiB in 3 runs of the load" in line for line in wide.warnings)
    assert "(from run to run 195.0 to 432.0 MiB, by which reads meet)" in answer([wide])[0]
    assert narrow == result


def test_a_load_without_reads_has_no_spread():
    assert not wanted(SCENARIO, 120) and wanted(SCENARIO.replace("workload.queries_hz", 0.1), 120)
    assert not wanted(SCENARIO.replace("workload.queries_hz", 0.1), 1e7)


def test_run_looks_at_eight_runs(tmp_path):
    spec = load("before").replace("workload", {"rate_hz": 5, "duration_s": 900, "queries_hz": 0.05})
    (tmp_path / "x.toml").write_text(dumps(spec), encoding="utf-8")
    result = CliRunner().invoke(main, ["run", str(tmp_path / "x.toml"), "--no-month", "--json"])
    assert result.exit_code == 0, result.output
    figures = {m["metric"]: m for m in json.loads(result.stdout)["summary"]["trace"]}

    lowest, peak, highest = (figures[f"server_rss_peak{end}"]["value"] for end in ("_lowest", "", "_highest"))
    assert lowest <= peak <= highest and highest > 1.1 * lowest
    assert figures["server_rss_peak_highest"]["basis"] == "of 8 runs"
