"""Draws have an address: a table that goes from block to block tells what a generator made for each would tell."""

from __future__ import annotations

import pytest

from capsim.base.rng import TABLE_ITEMS, Table, generator


@pytest.mark.parametrize("kind", ["uniform", "normal", "exponential"])
def test_a_table_holds_what_the_generator_at_its_address_draws(kind):
    table = Table(7, 2, "database", kind)

    for number in (3, 0, 3, 1, 2**40):
        rng = generator(7, 2, "database", number)
        drawn = {"uniform": rng.random, "normal": rng.standard_normal, "exponential": rng.standard_exponential}[kind]
        assert table.block(number).tolist() == drawn(TABLE_ITEMS).tolist()
