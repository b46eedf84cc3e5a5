"""The colours are told apart by everyone, and stand out from the paper."""

from __future__ import annotations

from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest

from capsim.show import plots
from capsim.show.plots.palette import PALETTE
from capsim.show.plots.run import LINES, SERVICES, WRITERS
from capsim.show.plots.sides import SIDES

# Full dichromacy on linear RGB: G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, "A Physiologically-based Model for
# Simulation of Color Vision Deficiency", IEEE TVCG 15(6), 2009, severity 1.0.
SIGHT = {
    "all cones": np.eye(3),
    "no red cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green cones": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no blue cones": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
JUST_SEEN = 2.3  # CIE 1976: a difference of colour that half of all viewers notice
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    rgb = np.array(mpl.colors.to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = XYZ @ np.clip(rgb, 0, 1) / (XYZ @ np.ones(3))
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(colour, paper="white"):
    high, low = sorted((float(XYZ[1] @ linear(c)) for c in (colour, paper)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_measure_of_contrast_is_that_of_wcag():
    assert contrast("black") == pytest.approx(21, abs=0.01)
    assert contrast("#777777") == pytest.approx(4.48, abs=0.01)  # the well-known grey that just fails for text


@pytest.mark.parametrize("colour", PALETTE)
def test_every_colour_stands_out_from_white_paper(colour):
    assert contrast(colour) >= 3  # WCAG 2.1, 1.4.11: graphical objects


def test_remarks_in_grey_are_as_readable_as_text_has_to_be():
    assert contrast(plots.canvas.QUIET) >= 4.5  # WCAG 2.1, 1.4.3


@pytest.mark.parametrize("sight", SIGHT)
def test_no_two_colours_look_alike_to_anyone(sight):
    seen = {colour: lab(np.array(SIGHT[sight]) @ linear(colour)) for colour in PALETTE}

    for one, other in combinations(PALETTE, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 4 * JUST_SEEN, (one, other)


@pytest.mark.parametrize("looks", [SERVICES, LINES, WRITERS])
def test_what_stands_together_differs_without_colour_too(looks):
    assert len({mark for _, mark in looks.values()}) == len(looks)  # hatches, or line styles


def test_before_and_after_differ_without_colour_too():
    assert len(set(SIDES.values())) == len(SIDES)
    assert SIDES["before"][1] != SIDES["after"][1] != SIDES["fixed"][1]


def test_the_style_draws_in_these_colours():
    with plots.style():
        cycle = [colour.upper() for colour in mpl.rcParams["axes.prop_cycle"].by_key()["color"]]

    assert cycle == [colour.upper() for colour in PALETTE]
