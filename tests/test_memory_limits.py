"""Node under a container's limit: the ends that were measured, and the rule that avoids them."""

import pytest

from capsim.memory.limits import ending_of_a_leak, node_defaults, safe_heap_cap_mib

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
    ("cap", "ends"), [(384, "abort"), (400, "abort"), (448, "abort"), (464, "abort"), (480, "kill"), (512, "kill")]
)
def test_a_pure_leak_in_512_mib(cap, ends):
    assert ending_of_a_leak(cap, 512, own_files=False) == ends


@pytest.mark.parametrize(("cap", "ends"), [(432, "abort"), (448, "abort"), (464, "hang"), (466, "hang")])
def test_the_whole_server_with_its_own_file_pages_in_512_mib(cap, ends):
    assert ending_of_a_leak(cap, 512) == ends


@pytest.mark.parametrize(("container", "ends"), [(128, "kill"), (256, "kill"), (512, "abort")])
def test_without_a_cap(container, ends):
    assert ending_of_a_leak(None, container, own_files=False) == ends


def test_the_safe_cap_is_the_limit_less_64():
    assert safe_heap_cap_mib(512) == 448
    assert ending_of_a_leak(safe_heap_cap_mib(1024), 1024) == "abort"
    assert ending_of_a_leak(safe_heap_cap_mib(512) + 1, 512) != "abort"
