"""What is charged, by whose rules and from when."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import ConfigDict, Field

from capsim.scenario.base import NotNegative, Positive, Spec


class BillingSpec(Spec):
    """What is charged, by whose rules and from when; nothing in capsim reads today's date."""

    plan: Literal["free", "hobby", "pro"] = Field(default="hobby", description="Railway plan")
    from_date: dt.date = Field(
        alias="from", description="first day of the billed month: picks the prices and the plan's rules"
    )
    response_bytes: NotNegative = Field(
        default=300.0, description="answer to one request with its headers, leaves as egress; assumed"
    )
    # Size of the metric's GB (facts: railway §1.3)
    gb_bytes: Literal[1_000_000_000, 1_073_741_824] = Field(
        default=1_000_000_000, description="size of the GB that is billed: decimal, or 2^30"
    )
    hard_limit_usd: Positive | Literal["none"] = Field(
        default="none", description='usage of a cycle at which the services are stopped; "none" for no limit'
    )

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
