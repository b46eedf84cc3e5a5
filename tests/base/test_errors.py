"""Refusals: short, printable, without secrets, and made in no time whatever they quote."""

from __future__ import annotations

import pytest

from capsim.base.errors import LONGEST_PROBLEM, CapsimError, concealed

SECRET = "hunter2"


@pytest.mark.timeout(60)  # addresses are searched for in a text of any length; a plain search takes hours
@pytest.mark.parametrize("piece", ['{"a":', "a", "a:", "a:b@", "a b ", " ", "a?", "http://x?a=b&", "=", "'", "@"])
def test_a_text_of_any_length_is_searched_at_once(piece):
    text = piece * ((1 << 22) // len(piece))

    (said,) = CapsimError(f"x.toml: key is {text!r}; give another").problems

    assert said.startswith("x.toml: key is ")
    assert len(said) <= LONGEST_PROBLEM + len(" [...] ")


@pytest.mark.parametrize("before", [0, 600, 990, 9_950, 9_990, 10_000, 30_000])
@pytest.mark.parametrize("length", [7, 1_000, 1_990, 2_000, 2_100, 12_000, 40_000])
@pytest.mark.parametrize("words", [True, False])
def test_a_secret_of_any_length_and_place_is_left_out(before, length, words):
    secret = (SECRET * (length // 7 + 1))[:length]
    around = ("some words, " * 5_000)[:before] + " " if words else "x" * before + " "
    for address in (f"postgresql://user:{secret}@host/db", f"https://host/api?token={secret}"):
        for text in (around + address, around + address + " " + around, address + " " + around):
            assert SECRET not in concealed(text)
            assert SECRET not in str(CapsimError(text))


def test_what_follows_a_long_word_stays():
    long = "9" * 5_000

    assert concealed(f"key is {long} of 3; give another") == f"key is {long[:100]}[...] of 3; give another"
    assert concealed(f"key is '{long}'; give another") == f"key is '{long[:99]}[...]'; give another"
    assert concealed("a" * 1_999) == "a" * 1_999
