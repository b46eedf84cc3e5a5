"""Record `capsim serve` while a day of the bundled game trace is replayed in a few minutes.

    python benchmarks/record_serve.py --seconds 150 --out serve-day.jsonl

Hour by hour the trace's mean rate, times --scale; Poisson arrivals by a fixed seed. Prints how many requests were sent
by stream, which is what the counters are held against.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from capsim.telemetry.record.ask import Unanswered, ask
from capsim.telemetry.record.recorder import RecordSettings, record
from capsim.validation.reference.load import drive
from capsim.workload import find_trace, read_trace
from capsim.workload.convert import rebin
from capsim.workload.recordings.address import address_of

EVERY_S = 1.0
PORT = 8_437
SHARES = {"events": 0.60, "revenue": 0.05, "heartbeats": 0.35}


def main() -> None:
    """Parse, serve, load, record, stop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--scale", type=float, default=8)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    hours = rebin(read_trace(find_trace("game-day")), 3_600_000_000).counts / 3_600 * given.scale
    draws = np.random.default_rng(1)
    arrivals = {}
    for stream, share in SHARES.items():
        width_us = given.seconds / 24 * 1e6
        times = [
            hour * width_us + draws.uniform(0, width_us, draws.poisson(rate * share * width_us / 1e6))
            for hour, rate in enumerate(hours)
        ]
        arrivals[stream] = np.sort(np.concatenate(times)).astype(np.int64).tolist()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "capsim",
            "serve",
            "fixed",
            "--port",
            str(PORT),
            "--file",
            f"{folder}/x.sqlite",
        ]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ)
        address = address_of(f"http://127.0.0.1:{PORT}/api/metrics")
        try:
            for _ in range(100):
                try:
                    ask(address, 1.0)
                    break
                except Unanswered:
                    time.sleep(0.2)
            load = threading.Thread(target=lambda: asyncio.run(drive(f"http://127.0.0.1:{PORT}", arrivals)))
            settings = RecordSettings(address=address, every_s=EVERY_S, for_s=given.seconds + 8)
            load.start()
            tally = record(settings, given.out)
            load.join()
        finally:
            server.terminate()
            server.wait(20)
    sent = ", ".join(f"{len(times)} {stream}" for stream, times in arrivals.items())
    print(f"{given.out}: {tally.samples} samples, {tally.missed} missed; sent {sent}")


if __name__ == "__main__":
    main()
