"""What a scenario says that no container and no volume could hold: it is refused, as its bill would mean nothing."""

from __future__ import annotations

from capsim.base.errors import CapsimError
from capsim.base.units import GB, MIB
from capsim.memory.constants import varied
from capsim.memory.postgres import memory_limit_mib, volume_limit_mib
from capsim.memory.redis import Content
from capsim.scenario.prices import limits_on
from capsim.scenario.scenario import Scenario


def check_fits(scenario: Scenario) -> None:
    """Refuse data that is larger than what is to hold it.

    Raises
    ------
    CapsimError
        One line for Redis' keys beyond a replica's memory, for rows at the start beyond the volume, and for shared
        buffers beyond the memory of Postgres. Limits that are not known refuse nothing.

    Examples
    --------
    >>> from capsim.scenario.file import load
    >>> check_fits(load("after").replace("database.rows_at_start", 10**9))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    capsim.base.errors.CapsimError: [database] rows_at_start = 1,000,000,000 are ... GB on disk, and the volume has ...
    """
    value = varied(scenario)
    problems = []
    billing, database, redis = scenario.billing, scenario.database, scenario.redis
    limits = limits_on(billing.plan, billing.from_date)
    keys_gb = Content(redis.keys, redis.value_bytes, value=value).memory_mib * MIB / GB
    if limits is not None and keys_gb > limits.ram_gb:
        problems.append(
            f"[redis] keys = {redis.keys:,} of {redis.value_bytes:,} bytes are {keys_gb:,.4g} GB, and plan "
            f"{billing.plan} lets one service have {limits.ram_gb} GB of memory; give fewer keys or a smaller "
            "value_bytes"
        )
    rows_mib = database.rows_at_start * value("pg_data_event") / MIB * (1 + value("pg_volume_metadata"))
    volume_mib = volume_limit_mib(scenario)
    if rows_mib > volume_mib:
        problems.append(
            f"[database] rows_at_start = {database.rows_at_start:,} are {rows_mib * MIB / GB:,.4g} GB on disk, and the "
            f"volume has {volume_mib * MIB / GB:g} GB; give fewer rows, or a larger volume_gb"
        )
    limit_mib = memory_limit_mib(scenario)
    if database.shared_buffers_mib > limit_mib:
        problems.append(
            f"[database] shared_buffers_mib = {database.shared_buffers_mib:,} is more than the {limit_mib:,.0f} MiB of "
            "memory that Postgres may have; give less, or a larger memory_limit_mib"
        )
    if problems:
        raise CapsimError(*problems)
