"""Page cache in a container: what a limit, a deletion and a host take back. Rules of the kernel, no recordings."""

import pytest

from capsim.base.errors import CapsimError
from capsim.memory.container import Container, Usage, cached_mib


def box(limit_mib=float("inf"), anon_mib=20.0, **more):
    made = Container(limit_mib, **more)
    made.hold(anon_mib)
    return made


def test_a_byte_touched_twice_is_cached_once():
    container = box()
    for _ in range(3):
        container.write("log", 0, 100)
        container.read("log", 0, 100)

    assert container.usage.cache_mib == pytest.approx(100)


def test_a_file_that_grows_in_small_steps_is_cached_by_its_size():
    container = box()
    for step in range(100):
        container.write("log", step * 0.37, (step + 1) * 0.37)

    assert container.usage.cache_mib == pytest.approx(37)


def test_written_pages_cost_the_kernel_more_than_pages_only_read():
    wrote, read = box(), box()
    wrote.write("a", 0, 1000)
    read.read("a", 0, 1000)

    assert wrote.usage.kernel_mib == pytest.approx(29)
    assert read.usage.kernel_mib == pytest.approx(2.5)


def test_usage_never_passes_the_limit_and_stands_just_below_it_while_files_are_touched():
    container = box(limit_mib=512)
    for start in range(0, 3000, 50):
        container.write("data", start, start + 50)
        assert container.usage.usage_mib <= 512

    assert container.usage.usage_mib > 510


def test_memory_of_processes_pushes_file_pages_out():
    container = box(limit_mib=200)
    container.write("data", 0, 500)
    container.hold(anon_mib=150)

    assert container.usage.usage_mib <= 200
    assert container.usage.cache_mib < 50
    assert not container.killed


def test_processes_that_need_more_than_the_limit_are_killed_whatever_the_cache():
    container = box(limit_mib=200)
    container.hold(anon_mib=199.9)

    assert container.killed


def test_a_deleted_file_gives_its_pages_back_at_once_and_the_end_of_a_process_none():
    container = box()
    container.write("data", 0, 300)
    container.write("dump", 0, 200)
    container.hold(anon_mib=0)
    assert container.usage.cache_mib == pytest.approx(500)

    container.delete("dump")
    assert container.usage.cache_mib == pytest.approx(300)
    assert container.usage.kernel_mib == pytest.approx(300 * 0.029)


def test_idleness_gives_nothing_back_unless_the_host_has_a_reclaimer():
    alone, reclaimed = box(), box(reclaim_per_s=0.001)
    for container in (alone, reclaimed):
        container.write("data", 0, 1000)
        container.rest(60)

    assert alone.usage.cache_mib == pytest.approx(1000)
    assert reclaimed.usage.cache_mib == pytest.approx(1000 * 0.999**60, abs=1)


def test_pages_read_again_outlive_pages_touched_once():
    """A table read twice keeps half of a full cache against a dump that is written once."""
    container = box(limit_mib=520)
    container.read("table", 0, 400)
    container.read("table", 0, 400)
    container.write("dump", 0, 2000)

    assert container.cached_of("table") == pytest.approx(250, abs=5)
    assert container.cached_of("dump") == pytest.approx(240, abs=10)


def test_the_oldest_pages_go_first_among_those_touched_once():
    container = box(limit_mib=320)
    container.write("old", 0, 200)
    container.write("new", 0, 250)

    assert container.cached_of("new") == pytest.approx(250)
    assert container.cached_of("old") < 50


def test_the_closed_form_of_a_run_agrees_with_the_pages_one_by_one():
    for size in (100, 480, 3000):
        container = box(limit_mib=512)
        container.write("data", 0, size)
        held = Usage(20, 0, 0, 0).usage_mib

        assert container.usage.cache_mib == pytest.approx(cached_mib(size, held, 512, 0.029), abs=1.1)


def test_an_impossible_limit_is_refused_with_its_value():
    with pytest.raises(CapsimError, match="limit is 0 MiB; give more than 0"):
        Container(0)
