"""Plots look as they looked: each is drawn small and compared with the image that was looked at and kept.

``python tests/show/test_images.py`` draws the kept images again; look at them before they are committed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.testing.compare import compare_images

from capsim.show import plots
from capsim.workload import Trace
from fake_run import FakeRun, samples

matplotlib.use("Agg")

KEPT = Path(__file__).parents[1] / "images"
TOLERANCE = 6.0  # root mean square of 255: hinting may differ between machines, a line or a colour may not
DOTS_PER_INCH = 50  # a few kilobytes an image


def day():
    table = samples(1_440, 80.0)
    minute = np.arange(1_440)
    wave = 1 + np.sin(2 * np.pi * minute / 1_440)
    table["has_load"] = True
    table["requests"] = (300 * wave).astype(int)
    for column in table.columns[table.columns.str.endswith("_mib")]:
        table[column] = 60 + 20 * wave
    table["server_rss_peak_mib"] += 15
    table["server_billed_lower_mib"] -= 20
    table["server_billed_upper_mib"] += 30
    for number, stream in enumerate(("events", "revenue", "heartbeats")):
        table[f"{stream}_buffer_mean_rows"] = 100 * wave / (number + 1)
        table[f"{stream}_buffer_max_rows"] = (200 * wave / (number + 1)).astype(int)
    return plots.steps(table)


def lower(steps):
    return steps.mul(0.9).assign(time_s=steps["time_s"], width_s=steps["width_s"])


def trace():
    return Trace.from_counts("day", np.arange(1_440) * 60_000_000, 60 + np.arange(1_440) % 97, 60_000_000)


CAPS = plots.Caps(heap_mib=120, container_mib=8_192, buffer_rows=dict.fromkeys(("events", "revenue"), 150))
DRAWN = {
    "load": lambda: plots.load(day()),
    "memory": lambda: plots.memory(day(), CAPS),
    "services": lambda: plots.services(day()),
    "buffers": lambda: plots.buffers(day(), CAPS),
    "losses": lambda: plots.losses(day()),
    "bill": lambda: plots.bill(FakeRun().bill()),
    "compare_memory": lambda: plots.compare_memory({"before": day(), "after": lower(day())}),
    "compare_bill": lambda: plots.compare_bill({"before": FakeRun().bill(), "after": FakeRun(level=50.0).bill()}),
    "rate": lambda: plots.rate(trace()),
}


def draw(name, folder):
    ax = DRAWN[name]()
    place = folder / f"{name}.png"
    with plots.style():
        ax.figure.savefig(place, dpi=DOTS_PER_INCH, metadata={"Software": None})
    plt.close(ax.figure)
    return place


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_looks_as_it_was_kept(name, tmp_path):
    found = compare_images(str(KEPT / f"{name}.png"), str(draw(name, tmp_path)), TOLERANCE)

    assert found is None, f"{found}\nlook at the image; if it is right: python tests/show/test_images.py"


def test_another_colour_would_be_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(plots.run, "ORANGE", "#005A9C")

    assert compare_images(str(KEPT / "memory.png"), str(draw("memory", tmp_path)), TOLERANCE) is not None


def test_a_figure_is_saved_by_name_in_both_formats_with_its_description(tmp_path):
    ax = plots.load(day())

    made = plots.save(ax, tmp_path / "figures", "load_of_the_day", alt="Requests rise and fall once.")

    assert [path.name for path in made] == ["load_of_the_day.png", "load_of_the_day.svg"]
    for path in made:
        assert b"Requests rise and fall once." in path.read_bytes(), path.name
    plt.close("all")


@pytest.mark.parametrize("name", ["", "a/b"])
def test_a_figure_needs_a_name(name, tmp_path):
    ax = plots.load(day())

    with pytest.raises(plots.canvas.CapsimError, match="is no name for a figure"):
        plots.save(ax, tmp_path, name)
    plt.close("all")


if __name__ == "__main__":
    KEPT.mkdir(exist_ok=True)
    for each in sys.argv[1:] or DRAWN:
        print(draw(each, KEPT))
