"""Node in a container with a memory limit: what it assumes by default, and how it ends when it leaks.

Three ends are known. V8 aborts when its own cap comes first (exit 134). Otherwise it hangs where the pages of the
program's own files are charged to its container, as on a platform that runs one program in each: at some 24 MiB below
the limit so few of them stay in memory that they are read again and again, and nothing ends that but a check from
outside. Where those files are charged elsewhere the kernel kills (137), when anonymous and its own memory reach the
limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from capsim.base.units import GB, MIB
from capsim.memory.constants import PUBLISHED, varied
from capsim.memory.heap import Ending
from capsim.scenario.prices import limits_on
from capsim.scenario.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd

_LARGE_MIB = 15 * 1024.0  # from so much memory on V8 takes a host for a large one; containers: assumed, 8 GiB measured
_LARGE_HEAP_MIB = 4096.0  # V8's limit there; measured without a container
_HANGS = (
    "it hangs before V8 gives up: its own files are read again and again, it answers nothing, and nothing restarts it "
    "(if another container holds those files, the kernel kills it instead, exit 137)"
)


@dataclass(frozen=True)
class Defaults:
    """What Node sets for itself [MiB]: limit of the old generation, and largest half of new space."""

    heap_cap_mib: float
    semi_space_mib: float


_HEAP_OF_SEMI_SPACE = {20: 128.0, 24: 32.0}  # limit of the old generation over the largest half of new space
_LARGEST_SEMI_SPACE_MIB = {20: 16.0, 24: 64.0}


def node_defaults(container_mib: float | None, version: int = 20) -> Defaults:
    """Heap limit and semi-space of Node without options.

    Half the container's limit, at least 256 and at most 2,048 MiB, and 4,096 from 15 GiB on. The semi-space follows:
    1 MiB up to 512 MiB of container, which costs a busy program fifteen times the scavenges; above, a 128th of the heap
    limit and at most 16 MiB in Node 20, a 32nd and at most 64 MiB in Node 24. A heap cap set by hand does not bring it
    back.

    Parameters
    ----------
    container_mib : float or None
        Memory limit of the container [MiB]; None without one (host of 16 GiB or more).
    version : {20, 24}
        Major version of Node. Both were read off ``heap_size_limit`` in containers of 128 to 8,192 MiB (v20.20.2 and
        v24.19.0).

    Examples
    --------
    >>> node_defaults(512)
    Defaults(heap_cap_mib=256.0, semi_space_mib=1.0)
    >>> node_defaults(2048), node_defaults(2048, version=24).semi_space_mib
    (Defaults(heap_cap_mib=1024.0, semi_space_mib=8.0), 32.0)
    """
    largest = _LARGEST_SEMI_SPACE_MIB[version]
    if container_mib is None or container_mib >= _LARGE_MIB:
        return Defaults(_LARGE_HEAP_MIB, largest)
    heap = min(max(container_mib / 2, 256.0), 2048.0)
    return Defaults(heap, 1.0 if heap <= 256 else min(heap / _HEAP_OF_SEMI_SPACE[version], largest))


def ending_of_a_leak(heap_cap_mib: float | None, container_mib: float | None, *, own_files: bool = True) -> Ending:
    """How a program ends that keeps ever more of what it allocates.

    Parameters
    ----------
    heap_cap_mib : float or None
        ``--max-old-space-size`` [MiB]; None for V8's default.
    container_mib : float or None
        Memory limit of the container [MiB]; None without one.
    own_files : bool
        Whether the pages of the program's files are charged to this container, as they are where it runs alone.

    Returns
    -------
    {"abort", "kill", "hang"}
        As measured in containers of 160, 256 and 512 MiB for caps of 208 to 512, and of 128 to 512 without a cap, with
        a semi-space of 1 MiB. With 16 MiB, set by hand, 30 to 45 MiB more are in use (not measured).

    Examples
    --------
    >>> [ending_of_a_leak(cap, 512) for cap in (448, 464, 480)]
    ['abort', 'hang', 'hang']
    >>> [ending_of_a_leak(cap, 512, own_files=False) for cap in (448, 464, 480)]
    ['abort', 'abort', 'kill']
    """
    value = PUBLISHED
    cap = node_defaults(container_mib).heap_cap_mib if heap_cap_mib is None else heap_cap_mib
    if container_mib is None:
        return "abort"
    needed = cap * (1 + value("beyond_cap_share")) + value("beyond_cap")
    if own_files:
        return "hang" if needed + value("files_in_use") > container_mib else "abort"
    return "kill" if needed > container_mib else "abort"


def safe_heap_cap_mib(container_mib: float) -> float:
    """Largest cap with which a leak ends as an abort for certain [MiB]; 0 in a container too small for any.

    Page tables and V8's own memory grow with the heap, so a larger container has to leave more.

    Examples
    --------
    >>> safe_heap_cap_mib(512), safe_heap_cap_mib(2048)
    (448.0, 1908.0)
    """
    value = PUBLISHED
    room = container_mib - value("beyond_cap") - value("files_in_use") - value("files_margin")
    return float(max(room // (1 + value("beyond_cap_share")), 0.0))


def container_mib(scenario: Scenario) -> float | None:
    """Memory limit of the server's container [MiB]: its own, or what its plan lets one replica have.

    None where no limit is known. A limit above that of the plan counts as that of the plan.

    Examples
    --------
    >>> billing = {"from": "2026-02-03", "plan": "free"}
    >>> s = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing=billing)
    >>> round(container_mib(s)), container_mib(s.replace("server.container.memory_limit_mib", 256))
    (477, 256.0)
    """
    own = scenario.server.container.memory_limit_mib
    limits = limits_on(scenario.billing.plan, scenario.billing.from_date)
    of_plan = None if limits is None else float(limits.ram_gb) * GB / MIB
    if own == "plan":
        return of_plan
    return float(own) if of_plan is None else min(float(own), of_plan)


def cpu_quota(scenario: Scenario) -> float | None:
    """CPU that the server's container may use [vCPU]: its own quota, or the plan's for one replica; None if unknown.

    Examples
    --------
    >>> billing = {"from": "2026-02-03", "plan": "hobby"}
    >>> s = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing=billing)
    >>> cpu_quota(s), cpu_quota(s.replace("server.container.cpu", 0.5))
    (8.0, 0.5)
    """
    own = scenario.server.container.cpu
    limits = limits_on(scenario.billing.plan, scenario.billing.from_date)
    of_plan = None if limits is None else float(limits.vcpu)
    if own == "plan":
        return of_plan
    return float(own) if of_plan is None else min(float(own), of_plan)


def heap_limit_mib(scenario: Scenario) -> float:
    """Limit of the old generation [MiB]: the cap, or Node's default in the server's container.

    Examples
    --------
    >>> s = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> heap_limit_mib(s), heap_limit_mib(s.replace("server.node.heap_cap_mib", 512))
    (2048.0, 512.0)
    """
    node = scenario.server.node
    if node.heap_cap_mib != "none":
        return float(node.heap_cap_mib)
    return node_defaults(container_mib(scenario), node.version).heap_cap_mib


def semi_space_mib(scenario: Scenario) -> float:
    """Largest half of new space [MiB]: as set, or Node's default in the server's container, whatever the cap.

    Examples
    --------
    >>> s = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing={"from": "2026-02-03"})
    >>> semi_space_mib(s), semi_space_mib(s.replace("server.container.memory_limit_mib", 512))
    (16.0, 1.0)
    """
    node = scenario.server.node
    if node.semi_space_mib != "default":
        return float(node.semi_space_mib)
    return node_defaults(container_mib(scenario), node.version).semi_space_mib


def hung_columns(last: pd.Series | None, scenario: Scenario) -> dict[str, float]:
    """The server's columns of `capsim.scenario.columns.MEMORY` while it hangs: what it held last, and its container's
    limit.

    Parameters
    ----------
    last : Series or None
        The same columns just before; None if it hung at its start, which takes all there is.
    scenario : Scenario
        One with a limit of the container.

    Returns
    -------
    dict of str to float
        Measured: usage at the limit throughout, 0.4 to 0.5 CPU spent on reading program files again.
    """
    value = varied(scenario)
    limit = container_mib(scenario) or 0.0
    kept = ("server_heap_mib", "server_rss_mib", "server_rss_peak_mib")
    billed = ("server_billed_lower_mib", "server_billed_mib", "server_billed_upper_mib")
    quota = cpu_quota(scenario)
    spent = value("hung_cpu") if quota is None else min(value("hung_cpu"), quota)
    held = dict.fromkeys(kept, limit) if last is None else {name: float(last[name]) for name in kept}
    return held | dict.fromkeys(billed, limit) | {"server_cpu_vcpu": spent}


def heap_notes(scenario: Scenario) -> list[str]:
    """What ends a leak of this server, where that is not V8's abort: a line if so.

    Examples
    --------
    >>> billing = {"from": "2026-02-03", "plan": "free"}
    >>> s = Scenario(name="x", workload={"rate_hz": 1, "duration_s": 60}, billing=billing)
    >>> heap_notes(s), heap_notes(s.replace("server.node.heap_cap_mib", 512))[0][:60]
    ([], '[server.node] heap_cap_mib = 512 is too close to the 477 MiB')
    """
    cap, container = scenario.server.node.heap_cap_mib, container_mib(scenario)
    if cap == "none" or container is None:
        return []
    if ending_of_a_leak(cap, container) == "abort":
        return []
    return [
        f"[server.node] heap_cap_mib = {cap} is too close to the {container:,.0f} MiB of its container (plan "
        f"{scenario.billing.plan}): if it leaks, {_HANGS}; set it to {safe_heap_cap_mib(container):,.0f} or less"
    ]
