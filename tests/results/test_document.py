"""The result document: complete, stable to the byte, and what the committed schema says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from capsim.base.document import dumps, rounded
from capsim.base.errors import CapsimError
from capsim.base.intervals import t_quantile
from capsim.base.paths import data_dir
from capsim.results.accounting import FATES
from capsim.results.document import Account, load_document, load_results, result_of, schema_text
from capsim.results.replicates import combine
from capsim.results.series import MAX_STEPS, series_of, step_s
from fake_run import FakeRun, samples

MONTH_MINUTES = 43_200


def test_a_document_read_back_is_the_document(tmp_path):
    result = result_of([FakeRun()])
    path = tmp_path / "result.json"
    path.write_text(dumps(result), encoding="utf-8")

    assert load_document(path) == result
    assert load_results(path) == (result,)


def test_the_committed_schema_is_current():
    """`python -c 'from capsim import document; print(document.schema_text(), end="")'` writes it."""
    assert (data_dir() / "schema" / "result.schema.json").read_text(encoding="utf-8") == schema_text()


def test_a_document_obeys_the_committed_schema():
    jsonschema = pytest.importorskip("jsonschema")
    kept = json.loads((data_dir() / "schema" / "result.schema.json").read_text(encoding="utf-8"))
    document = json.loads(dumps(result_of([FakeRun(minutes=MONTH_MINUTES)])))

    jsonschema.Draft202012Validator(kept).validate(document)
    document["summary"]["trace"][0]["valu"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(kept).validate(document)


def test_numbers_are_published_to_nine_significant_digits():
    text = dumps(result_of([FakeRun(level=100.0)]))

    assert '"value": 33.3333333,' in text
    assert '"value": 0.0123456789,' in text
    assert rounded(-1e-320 * 0) == 0 and math.copysign(1, rounded(-0.0)) == 1


def test_what_is_not_a_number_is_null():
    document = json.loads(dumps(result_of([FakeRun()])))

    assert document["bill"]["trace"][1]["amount_usd"] is None
    assert document["stress"][1] == {
        "test": "stall", "metric": "first drop after", "value": None, "unit": "s", "half_width": None,
    }  # fmt: skip


def test_a_row_of_a_table_is_one_line_of_the_file():
    """So that the diff of a changed prediction shows the changed figures and nothing else."""
    before, after = dumps(result_of([FakeRun(level=100.0)])), dumps(result_of([FakeRun(level=110.0)]))
    changed = [b for b, a in zip(before.splitlines(), after.splitlines(), strict=True) if a != b]

    assert all(('"metric"' in line) + ('"line"' in line) + ('"mean"' in line) + ('"max"' in line) for line in changed)


def test_a_month_is_told_only_if_it_was_simulated():
    assert set(result_of([FakeRun(minutes=2)]).summary) == {"trace"}
    long = result_of([FakeRun(minutes=MONTH_MINUTES)])
    assert set(long.summary) == set(long.bill) == set(long.series) == {"trace", "month"}


def test_no_place_of_this_machine_is_in_the_document():
    run = FakeRun(load={"name": "day", "source": str(Path("/home/somebody/day.csv"))})

    assert "somebody" not in dumps(result_of([run]))


def test_replicates_become_a_mean_and_its_interval():
    result = result_of([FakeRun(level=level, replicate=i) for i, level in enumerate((100.0, 102.0, 104.0))])
    rss = result.summary["trace"][0]

    assert rss.value == 102
    assert rss.half_width == pytest.approx(4.303 * 2 / math.sqrt(3), rel=1e-3)  # t(2) from any table
    assert result.replicates == result.provenance["replicates"] == 3
    assert "replicate" not in result.provenance and "replicate" not in result.provenance["load"]


def test_one_run_has_no_interval():
    assert result_of([FakeRun()]).summary["trace"][0].half_width is None


@pytest.mark.parametrize(
    ("degrees", "printed"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (120, 1.980)]
)
def test_t_quantiles_are_those_of_the_printed_table(degrees, printed):
    assert t_quantile(degrees) == pytest.approx(printed, abs=5e-4)


def test_a_row_that_one_replicate_lacks_is_averaged_over_the_others():
    tables = [
        pd.DataFrame({"metric": ["a"], "value": [1.0]}),
        pd.DataFrame({"metric": ["a", "b"], "value": [3.0, 5.0]}),
    ]
    rows = combine(tables, ["metric"], "value").set_index("metric")

    assert rows.value.to_dict() == {"a": 2.0, "b": 5.0}
    assert math.isnan(rows.half_width["b"])


@pytest.mark.parametrize("days", [0.001, 1, 30, 62, 400, 4_000])
def test_a_series_is_never_long(days):
    assert days * 86_400 / step_s(days * 86_400) <= MAX_STEPS


def test_a_series_keeps_the_peak_and_the_exact_mean():
    table = samples(MONTH_MINUTES, 100.0)
    table.loc[7, ["server_rss_mib", "server_rss_peak_mib"]] = [160.0, 400.0]
    found = series_of(table, 30 * 86_400)
    rss = next(s for s in found["series"] if s["series"] == "server_rss_mib")

    assert found["step_s"] == 3_600
    assert (rss["mean"][0], rss["max"][0]) == (101.0, 400.0)
    assert set(rss["max"][1:]) == {100.0}


def test_rates_are_not_averaged_over_time_without_data():
    found = series_of(samples(MONTH_MINUTES, 1.0), 30 * 86_400)  # load in the first two minutes only
    requests = next(s for s in found["series"] if s["series"] == "requests_hz")

    assert requests["mean"][0] == 5.0
    assert np.isnan(requests["mean"][1])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "has no schema_version"),
        ('{"schema_version": 99}', "schema_version is 99; this capsim reads 1"),
        ('{"schema_version": 1, "kind": "run"}', "Field required"),
        ('{"schema_version": 1, "kind": "song"}', "kind"),
        ("\ud800", "not UTF-8"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_is_no_document_is_refused_in_one_line(tmp_path, content, says):
    path = tmp_path / "saved.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))

    with pytest.raises(CapsimError, match=says) as caught:
        load_document(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_missing_document_names_the_file(tmp_path):
    with pytest.raises(CapsimError, match=r"gone\.json: cannot be read"):
        load_document(tmp_path / "gone.json")


def test_every_fate_of_an_item_is_in_the_document():
    assert tuple(Account.model_fields) == ("writer", "arrived", *FATES, "half_width")
