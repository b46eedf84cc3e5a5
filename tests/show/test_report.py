"""The report answers first, gives every number a unit, needs no other file, and is the same bytes every time."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from capsim.results.document import result_of
from capsim.show.console import overview
from capsim.show.headline import answer, question
from capsim.show.report import tables, write
from fake_run import SCENARIO, FakeRun

MINUTES = 43_200


def result(name="before", level=100.0, **more):
    return result_of([FakeRun(SCENARIO.replace("name", name), level, minutes=MINUTES, **more)])


@pytest.fixture(scope="module")
def sides():
    return [result("before", 100.0), result("after", 50.0).model_copy(update={"name": "<after>"})]


@pytest.fixture(scope="module")
def out(sides, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write(sides, folder)
    return folder


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.images, self.links, self.heads = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "img":
            self.images.append(attributes)
        self.links += [attributes[key] for key in ("href", "src") if key in attributes]


def test_the_page_needs_no_other_file(out):
    page = Page((out / "report.html").read_text(encoding="utf-8"))

    assert page.links and all(link.startswith(("#", "data:")) for link in page.links)


def test_every_picture_is_described_in_words(out):
    images = Page((out / "report.html").read_text(encoding="utf-8")).images

    assert len(images) >= 10
    assert all(len(image["alt"]) > 40 and image["alt"].endswith(".") for image in images)
    assert len({image["alt"] for image in images}) == len(images)


def test_every_plot_lies_beside_the_page_as_png_and_svg(out):
    names = {path.stem for path in (out / "plots").glob("*.png")}

    assert names == {path.stem for path in (out / "plots").glob("*.svg")}
    assert {"compare_memory", "compare_bill", "stress", "memory_before", "bill_after"} <= names


def test_the_same_results_give_the_same_bytes(out, sides, tmp_path):
    write(sides, tmp_path)

    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        assert (tmp_path / path.relative_to(out)).read_bytes() == path.read_bytes(), path.name


def test_names_are_text_and_never_markup(out):
    text = (out / "report.html").read_text(encoding="utf-8")

    assert "&lt;after&gt;" in text and "<after>" not in text


def test_basis_of_every_line_of_the_bill_is_told_apart(out):
    text = (out / "report.html").read_text(encoding="utf-8")

    assert '<td class="modelled">modelled</td>' in text
    assert '<td class="not-modelled">not modelled</td>' in text


def test_warnings_constants_and_provenance_stand_on_the_page(out, sides):
    text = (out / "report.html").read_text(encoding="utf-8")

    assert sides[0].warnings[0] in text
    assert "event_row" in text and "2387" in text
    assert "numpy" in text and "before" in text


@pytest.mark.parametrize("name", ["summary", "accounting", "stress", "bill", "series", "constants"])
def test_tables_are_tidy_and_every_number_has_a_unit(out, name):
    table = pd.read_csv(out / f"{name}.csv")

    numbers = [c for c in table.select_dtypes("number") if c not in ("value", "half_width", "quantity")]
    assert all(re.search(r"_(s|us|hz|mib|rows|items|usd|vcpu|connections)(_max)?$", column) for column in numbers), (
        numbers
    )
    assert "unit" in table or name in ("series", "accounting")


def test_csv_holds_what_the_document_holds(out, sides):
    table = pd.read_csv(out / "summary.csv").set_index(["scenario", "window", "metric"])["value"]

    for side in sides:
        for window, metrics in side.summary.items():
            for row in metrics:
                assert table[side.name, window, row.metric] == row.value


def test_a_single_result_has_a_report_too(tmp_path):
    write([result_of([FakeRun()])], tmp_path)  # of a load alone, without its month

    assert "How much memory does “small” need" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_tables_of_one_result_name_its_scenario():
    assert set(tables([result("mine")])["bill"]["scenario"]) == {"mine"}


# --- the answer --------------------------------------------------------------------------------------------


def test_the_answer_says_how_much_is_saved():
    memory, money = answer([result("before", 100.0), result("after", 50.0)])

    assert "lowers the server's memory from 100.0 to 50.0 MiB on average (-50 %)" in memory
    assert "costs 5.00 USD instead of 10.00 USD, 5.00 USD less" in money
    assert "with the least page cache 4.00 USD instead of 9.00 USD" in money


def test_the_answer_says_plainly_that_nothing_is_saved():
    memory, money = answer([result("before"), result("after")])

    assert memory.startswith("“after” saves no memory: the server holds 100.0 MiB on average, as in “before”")
    assert money.startswith("It saves no money: a month of this load costs 10.00 USD, as in “before”")


def test_the_answer_says_what_costs_more():
    memory, money = answer([result("before", 100.0), result("after", 150.0)])

    assert "raises" in memory and "5.00 USD more" in money


def test_the_question_names_the_sides():
    assert question([result("a"), result("b"), result("c")]).startswith("What do “b” and “c” change")


class Stressed(FakeRun):
    lost, stuck, rate = 0, 0, 0

    @property
    def stress(self):
        figures = {"length": 60, "request_rate": 36, "load_factor": 5, "items_lost": self.lost}
        figures |= {"writers_stuck": self.stuck, "items_stuck": 1_000 * self.stuck}
        figures |= {"loss_rate_until_restart": self.rate, "time_before": 30, "time_after": 300}
        return pd.DataFrame([("stall", m, float(v), "items") for m, v in figures.items()],
                            columns=["test", "metric", "value", "unit"])  # fmt: skip


class Stuck(Stressed):
    lost, stuck, rate = 1_413, 2, 57.1


def test_the_answer_tells_of_writers_that_never_recover():
    calm, stuck = (result_of([kind(SCENARIO.replace("name", kind.__name__))]) for kind in (Stressed, Stuck))

    memory, _ = answer([calm, stuck])

    assert "If Postgres hangs for 60 s at 5 times the busiest minute (36 requests/s), it loses 1,413 items by" in memory
    assert "then 2 writers never recover and lose 57.1 items/s until a restart (“Stressed”: 0 items)" in memory
    for text in (overview([stuck]), overview([calm, stuck])):
        assert "30 s of steady load, the fault, then 300 s" in " ".join(text.split())


class Full(FakeRun):
    def summary(self, window="trace"):
        stored = pd.DataFrame([("postgres_volume_end", 5e9 / 2**20, "MiB", "modelled")],
                              columns=["metric", "value", "unit", "basis"])  # fmt: skip
        return pd.concat([super().summary(window), stored])


def test_the_answer_says_when_a_bill_is_low_because_nothing_more_could_be_stored():
    full = result_of([Full(SCENARIO.replace("name", "full"))])  # of the hobby plan, whose volume has 5 GB

    for sides in ([full], [result_of([FakeRun()]), full]):
        assert "but only because the volume of 5 GB is full before its end and writes stop" in answer(sides)[1]
    assert "volume" not in answer([result_of([FakeRun()])])[1]


def test_the_answer_compares_the_days_in_which_both_write():
    class Month(FakeRun):
        full = None

        def summary(self, window="trace"):
            figures = {"postgres_volume_end": 5e9 / 2**20, "volume_full_after": self.full or math.nan}
            figures |= {"items_offered": 1_000, "redis_cpu_mean": 0.001}
            if self.full:
                figures |= {"items_lost": 600}
            rows = [(name, float(value), "1", "modelled") for name, value in figures.items()]
            return pd.concat([super().summary(window).query("metric != 'items_lost'"),
                              pd.DataFrame(rows, columns=["metric", "value", "unit", "basis"])])  # fmt: skip

    class Stops(Month):
        full = 11.2

    both = [result_of([kind(SCENARIO.replace("name", kind.__name__), minutes=43_200)]) for kind in (Month, Stops)]
    money = answer(both)[1]

    assert "but only because the volume of 5 GB is full on day 11.2 and writes stop" in money
    assert "From then on every write fails: of the month's 1,000 items 600 are lost" in money
    same = re.search(r"Up to that day, while both write, “Stops” uses ([\d.,]+) USD and “Month” ([\d.,]+) USD", money)
    assert same and same[1] == same[2] and float(same[1].replace(",", "")) > 0
