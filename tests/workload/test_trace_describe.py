"""The figures of a load, against hand-made cases and against published ones; what hides in wide bins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from capsim.workload import Trace, describe, read_trace
from capsim.workload.convert import rebin
from capsim.workload.description import binned
from capsim.workload.dispersion import fit_dispersion, split_counts

SHARED = Path(__file__).parents[3] / "shared" / "traces"
HOUR_US, MINUTE_US = 3_600_000_000, 60_000_000
MONDAY_US = 1_767_571_200_000_000  # 2026-01-05


def figures(trace: Trace) -> dict[str, object]:
    table = describe(trace)
    assert list(table.columns) == ["metric", "value", "unit"]
    return dict(zip(table.metric, table.value, strict=True))


def hourly(values: list[int], start_us: int = MONDAY_US) -> Trace:
    return Trace.from_counts("t", start_us + HOUR_US * np.arange(len(values)), values, HOUR_US)


def test_the_mean_is_over_time_with_data_only():
    trace = Trace.from_counts("t", [0, 9 * MINUTE_US], [60, 60], MINUTE_US)

    found = figures(trace)

    assert (found["mean_hz"], found["span_s"], found["covered_s"]) == (1.0, 600, 120)
    assert (found["gaps"], found["gaps_longest_s"]) == (1, 480)


def test_the_day_has_a_busiest_hour_and_the_week_a_weekend():
    week = [30 if hour % 24 == 18 else 10 for hour in range(5 * 24)] + [5] * 48

    found = figures(hourly(week))

    assert (found["busiest_hour"], found["quietest_hour"]) == (18, 0)
    assert found["busiest_to_quietest_hour"] == pytest.approx((30 * 5 + 10) / (10 * 5 + 10))
    assert found["weekend_to_weekday"] == pytest.approx(5 / ((23 * 10 + 30) / 24))


def test_a_trace_too_short_for_a_figure_has_no_row_for_it():
    found = figures(hourly([1, 2, 3]))

    assert not {"busiest_hour", "weekend_to_weekday", "peak_1s_hz"} & set(found)


def test_silent_bins_of_events_count_as_zero():
    trace = Trace.from_times("t", [0, 100_000, 200_000, 3_000_000], 100_000, end_us=4_000_000)

    found = figures(trace)

    assert found["peak_1s_requests"] == 3
    assert found["dispersion_1s"] == pytest.approx(np.var([3, 0, 0, 1]) / 1)
    assert found["p50_1s_requests"] == np.percentile([3, 0, 0, 1], 50)


def test_a_poisson_load_has_dispersion_one():
    rng = np.random.Generator(np.random.Philox(5))
    trace = Trace.from_counts("t", MINUTE_US * np.arange(20_000), rng.poisson(40, 20_000), MINUTE_US)

    assert figures(trace)["dispersion_1min"] == pytest.approx(1, abs=0.05)


# --- published figures of measured loads (shared/traces/README.md) --------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="the measured traces are not beside the repository")
@pytest.mark.parametrize(
    ("file", "published"),
    [
        (
            "nasa_http_1995_per_minute.csv.gz",
            {
                "requests": 3_461_612,
                "peak_1min_requests": 405,
                "peak_1min_at": "1995-07-13T13:49:00Z",
                "p50_1min_requests": 36,
                "p99_1min_requests": 130,
                "dispersion_1min": 20,
                "weekend_to_weekday": 0.57,
                "busiest_to_quietest_hour": 4.0,
                "busiest_hour": 19,
                "quietest_hour": 8,
                "gaps": 6,
                "peak_to_mean_1min": 9.6,
            },
        ),
        (
            "worldcup98_per_minute.csv.gz",
            {
                "requests": 1_352_804_107,
                "peak_1min_requests": 229_426,
                "p50_1min_requests": 3_883,
                "p99_1min_requests": 109_924,
                "dispersion_1min": 34_345,
                "weekend_to_weekday": 0.43,
                "busiest_to_quietest_hour": 4.0,
                "busiest_hour": 20,
                "quietest_hour": 5,
                "gaps": 0,
                "peak_to_mean_1min": 21.3,
            },
        ),
        (
            "aws_elb_request_count_5min.csv",
            {
                "requests": 249_327,
                "peak_300s_requests": 656,
                "p50_300s_requests": 48,
                "p99_300s_requests": 251,
                "dispersion_300s": 52,
                "weekend_to_weekday": 0.72,
                "busiest_to_quietest_hour": 2.2,
                "busiest_hour": 17,
                "quietest_hour": 6,
                "gaps": 8,
            },
        ),
        (
            "mobilegame_play_events_2015.csv.gz",
            {
                "requests": 153_929,
                "peak_1h_requests": 346,
                "peak_1min_requests": 22,
                "p50_1h_requests": 7,
                "p99_1h_requests": 71,
                "dispersion_1h": 21,
                "dispersion_1min": 1.9,
                "weekend_to_weekday": 1.53,
                "busiest_to_quietest_hour": 30,
                "busiest_hour": 12,
                "quietest_hour": 20,
                "out_of_order_lines": 6,
            },
        ),
        (
            "azure_llm_conv_2023_requests.csv.gz",
            {
                "requests": 19_366,
                "mean_hz": 5.53,
                "peak_1s_requests": 19,
                "peak_1min_requests": 502,
                "p50_1s_requests": 5,
                "p99_1s_requests": 13,
                "dispersion_1s": 1.3,
                "peak_to_mean_1s": 3.4,
            },
        ),
        ("secrepo_access_2022-12-22.log.gz", {"requests": 1_262, "peak_1min_requests": 14, "out_of_order_lines": 2}),
        (
            "elastic_apache_combined_2015-05.log.gz",
            {"requests": 10_000, "peak_1h_requests": 136, "out_of_order_lines": 4_915},
        ),
    ],
)
def test_figures_agree_with_the_published_ones(file, published):
    found = figures(read_trace(SHARED / file))

    for metric, value in published.items():
        if isinstance(value, float):  # to the digits that were published
            assert found[metric] == pytest.approx(value, rel=0.03), metric
        elif isinstance(value, int) and isinstance(found[metric], float):
            assert found[metric] == pytest.approx(value, abs=0.5 + 0.01 * value), metric
        else:
            assert found[metric] == value, metric


# --- inside wide bins -----------------------------------------------------------------------------------------------


def bursty_minutes(seed: int, cv2: float) -> Trace:
    """Minutes with independent gamma rates: the dispersion inside wider bins is known."""
    rng = np.random.Generator(np.random.Philox(seed))
    rates = 60 * rng.standard_gamma(1 / cv2, 40_000) * cv2
    return Trace.from_counts("t", MINUTE_US * np.arange(40_000), rng.poisson(rates), MINUTE_US)


def test_the_dispersion_of_minutes_is_recovered_from_five_minute_bins():
    fit = fit_dispersion(rebin(bursty_minutes(1, cv2=0.5), 5 * MINUTE_US))

    assert fit.beta == pytest.approx(1, abs=0.1)  # independent minutes
    assert fit.minute_cv2 == pytest.approx(0.5 * (1 - 1 / 5), rel=0.15)  # variance inside the bins


def test_a_poisson_load_stays_poisson_inside_its_bins():
    rng = np.random.Generator(np.random.Philox(2))
    minutes = Trace.from_counts("t", MINUTE_US * np.arange(40_000), rng.poisson(60, 40_000), MINUTE_US)

    assert fit_dispersion(rebin(minutes, 5 * MINUTE_US)).minute_cv2 < 0.01


def test_divided_bins_keep_their_totals_and_their_variance():
    rng = np.random.Generator(np.random.Philox(3))
    counts = np.full(20_000, 1_000)

    cells = split_counts(counts, 5, 0.3, rng)

    assert (cells.sum(axis=1) == counts).all()
    relative = cells / 200
    assert relative.var() == pytest.approx(0.3 + 1 / 200, rel=0.05)  # modulation and Poisson noise


@pytest.mark.skipif(not SHARED.is_dir(), reason="the measured traces are not beside the repository")
def test_the_busiest_minute_of_a_measured_load_is_nearer_to_the_modulated_guess():
    """Sum the NASA minutes to five-minute bins, and guess the minutes again."""
    minutes = read_trace(SHARED / "nasa_http_1995_per_minute.csv.gz")
    measured = binned(minutes, MINUTE_US)

    guess = figures(rebin(minutes, 5 * MINUTE_US))

    assert measured is not None
    errors = {p: abs(float(guess[f"dispersion_1min_{p}"]) - measured.dispersion) for p in ("poisson", "modulated")}
    assert errors["modulated"] < errors["poisson"]
