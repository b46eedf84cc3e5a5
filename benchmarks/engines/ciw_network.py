"""Ciw: a queueing network of one node. Its nodes have no timer over a buffer, so it has no batch writer."""

from __future__ import annotations

from collections.abc import Mapping

import ciw
import numpy as np
from job import main


def queue(given: Mapping[str, np.ndarray]) -> list[float]:
    """M/M/c: mean wait [us]; gaps and services are given, customer by customer."""
    at_us, service_us = given["at_us"], given["service_us"]
    never_us = int(at_us[-1] + service_us.sum()) + 1
    gaps_us = np.diff(at_us, prepend=0).tolist()
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Sequential([*gaps_us, 10 * never_us])],
        service_distributions=[ciw.dists.Sequential(service_us.tolist())],
        number_of_servers=[int(given["servers"])],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_time(never_us)
    waits = [record.waiting_time for record in simulation.get_all_records()]
    return [round(sum(waits) / len(waits), 3)]


if __name__ == "__main__":
    main({"queue": queue})
