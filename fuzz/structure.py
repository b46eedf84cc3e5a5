"""Tables with one or more values exchanged for anything else, or with keys missing or twice."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import parsers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63 - 1, 10**30, 10**400, 1e308, -0.0, 5e-324]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "0", "none", "default", "\x00", "\ud800", "²", "a" * 300, "${A}", "$(x)", "((((((((", "'"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(data: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a table has values, tables and lists included."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [place, *(found for key, value in inner for found in places(value, (*place, key)))]


@st.composite
def mangled(draw: st.DrawFn, example: Any) -> Any:
    """An example with one to three of its values exchanged or taken away."""
    data = copy.deepcopy(example)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(data)))
        if not place:
            continue
        parent = data
        for key in place[:-1]:
            parent = parent[key]
        what = draw(st.sampled_from(["exchange", "exchange", "leave out", "rename"]))
        if what == "exchange":
            parent[place[-1]] = draw(VALUES)
        elif what == "leave out" or isinstance(parent, list):
            del parent[place[-1]]
        else:
            parent[draw(st.text(max_size=8))] = parent.pop(place[-1])
    return data


def exchanged(name: str, examples: int = 100) -> Callable[[], None]:
    """A test of one parser by mangled examples of its tables."""
    parser = parsers.PARSERS[name]
    assert parser.example is not None
    example = parser.example()

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(mangled(example))
    def test(data: Any) -> None:
        try:
            encoded = parser.encode(data)
        except (ValueError, UnicodeError, TypeError):
            return  # no file can hold it
        parsers.check(name, encoded)

    return test
