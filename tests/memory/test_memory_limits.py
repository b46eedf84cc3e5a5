"""Node under a container's limit: the ends that were measured, and the rule that avoids them."""

import pytest

from capsim.memory import server
from capsim.memory.constants import PUBLISHED
from capsim.memory.limits import ending_of_a_leak, heap_limit_mib, heap_notes, node_defaults, safe_heap_cap_mib
from capsim.scenario.columns import SAMPLES, empty
from capsim.scenario.scenario import Scenario

MEASURED_DEFAULTS = [  # container, heap_size_limit less three semi-spaces, semi-space [MiB]
    (128, 256, 1),
    (256, 256, 1),
    (512, 256, 1),
    (1024, 512, 4),
    (2048, 1024, 8),
    (4096, 2048, 16),
    (8192, 2048, 16),
    (None, 4096, 16),
]


@pytest.mark.parametrize(("container", "heap", "semi"), MEASURED_DEFAULTS)
def test_defaults_are_the_measured_ones(container, heap, semi):
    got = node_defaults(container)

    assert (got.heap_cap_mib, got.semi_space_mib) == (heap, semi)


@pytest.mark.parametrize(
    ("container", "heap", "semi"),
    [
        (128, 256, 1),
        (512, 256, 1),
        (1024, 512, 16),
        (2048, 1024, 32),
        (4096, 2048, 64),
        (8192, 2048, 64),
        (None, 4096, 64),
    ],
)
def test_defaults_of_node_24_are_the_measured_ones(container, heap, semi):
    """heap_size_limit of v24.19.0 in memory cgroups, three semi-spaces more: 259, 259, 560, 1120, 2240, 2240, 4288."""
    got = node_defaults(container, 24)

    assert (got.heap_cap_mib, got.semi_space_mib) == (heap, semi)


@pytest.mark.parametrize(
    ("cap", "ends"), [(384, "abort"), (400, "abort"), (448, "abort"), (464, "abort"), (480, "kill"), (512, "kill")]
)
def test_a_pure_leak_in_512_mib(cap, ends):
    assert ending_of_a_leak(cap, 512, own_files=False) == ends


@pytest.mark.parametrize(
    ("cap", "container", "ends"),
    [
        (432, 512, "abort"),
        (448, 512, "abort"),
        (464, 512, "hang"),
        (466, 512, "hang"),
        (384, 160, "hang"),  # N13: oom_kill 0 in the 75 s that were watched
        (208, 256, "abort"),  # N14: 26 to 28 MiB of its files were left
    ],
)
def test_the_whole_server_with_its_own_file_pages(cap, container, ends):
    """Measured; no such server was ever killed."""
    assert ending_of_a_leak(cap, container) == ends


def test_the_same_server_is_killed_where_another_group_holds_its_files():
    """N13 again."""
    assert ending_of_a_leak(384, 160, own_files=False) == "kill"


@pytest.mark.parametrize(("container", "ends"), [(128, "kill"), (256, "kill"), (512, "abort")])
def test_without_a_cap(container, ends):
    assert ending_of_a_leak(None, container, own_files=False) == ends


def test_the_safe_cap_is_the_largest_that_was_seen_to_abort_and_leaves_more_in_a_larger_container():
    assert safe_heap_cap_mib(512) == 448
    assert [limit - safe_heap_cap_mib(limit) for limit in (256, 1024, 4096)] == [51, 89, 241]
    assert ending_of_a_leak(safe_heap_cap_mib(1024), 1024) == "abort"
    assert ending_of_a_leak(safe_heap_cap_mib(512) + 8, 512) != "abort"
    assert safe_heap_cap_mib(32) == 0


# --- a scenario in the container of its plan


def on(plan, cap="none"):
    spec = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03", "plan": plan})
    return spec.replace("server.node.heap_cap_mib", cap)


@pytest.mark.parametrize(("plan", "limit"), [("free", 256), ("hobby", 2048), ("pro", 4096)])
def test_without_a_cap_the_heap_limit_follows_the_container(plan, limit):
    assert heap_limit_mib(on(plan)) == limit
    assert heap_limit_mib(on(plan, 512)) == 512


def test_a_small_container_keeps_new_space_small():
    """1 MiB a half up to 512 MiB of container, also with a cap set by hand; 16 MiB on a large plan."""
    minute = empty(SAMPLES).reindex(range(3)).fillna(0)
    minute = minute.assign(time_s=[0.0, 60.0, 120.0], width_s=60.0, requests=30_000)
    plans = {plan: server.columns(minute, on(plan, 256), PUBLISHED)[0] for plan in ("free", "hobby")}
    heaps = {plan: columns["server_heap_mib"][-1] for plan, columns in plans.items()}

    assert heaps["hobby"] - heaps["free"] == pytest.approx(30, abs=3)


@pytest.mark.parametrize(("cap", "says"), [(414, None), (430, "it hangs"), (446, "it hangs"), (4096, "it hangs")])
def test_a_cap_too_close_to_the_container_is_said(cap, says):
    """Free plan: 477 MiB, so 415 at the most."""
    notes = heap_notes(on("free", cap))

    assert len(notes) == (says is not None)
    assert all(says in note and "set it to 415 or less" in note for note in notes)


def test_no_cap_needs_no_warning():
    assert heap_notes(on("free")) == heap_notes(on("pro")) == []
