"""Record the measuring kit's Node server through its /api/metrics: the recordings of notebooks/data are made with this.

    python benchmarks/record_node.py --rate 200 --seconds 300 --out node-200.jsonl
    python benchmarks/record_node.py --rate 400 --heap-cap 64 --seconds 180 --out node-400-cap64.jsonl

Starts the server (Node of the extra `node`, or on PATH), loads it open-loop from a second process, and records once a
second by `capsim record`'s own recorder, from the start of the server on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path

from capsim.telemetry.measure.gclog import FLAGS
from capsim.telemetry.measure.node import find_node
from capsim.telemetry.measure.session import PROGRAMS, RECORD_BYTES
from capsim.telemetry.record.recorder import RecordSettings, record
from capsim.workload.recordings.address import address_of

EVERY_S = 1.0


def main() -> None:
    """Parse, start, record, stop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--heap-cap", type=int)
    parser.add_argument("--semi-space", type=int)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    node = find_node()
    flags = [f"--max-old-space-size={given.heap_cap}"] if given.heap_cap else []
    flags += [f"--max-semi-space-size={given.semi_space}"] if given.semi_space else []
    reading, writing = os.pipe()
    settings = {
        "fd": writing, "record_bytes": RECORD_BYTES, "live_mib": 0, "event_row_bytes": 2387,
        "writer": {"rules": "fixed", "batch": 100, "delay_ms": 5000, "cap": None},
        "flush_ms": 20, "stalls": [], "sample_ms": 60_000,
    }  # fmt: skip
    server = load = None
    try:
        command = [node.path, *flags, *FLAGS, str(PROGRAMS / "server.cjs"), json.dumps(settings)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, pass_fds=(writing,))
        os.close(writing)
        with os.fdopen(reading) as pipe:
            port = json.loads(pipe.readline())["port"]
            body = {"port": port, "rate": given.rate, "seconds": given.seconds + 5, "record_bytes": RECORD_BYTES}
            load = subprocess.Popen(
                [node.path, str(PROGRAMS / "load.cjs"), json.dumps(body)], stdout=subprocess.DEVNULL
            )
            address = address_of(f"http://127.0.0.1:{port}/api/metrics")
            tally = record(RecordSettings(address=address, every_s=EVERY_S, for_s=given.seconds), given.out)
        print(f"{given.out}: Node {node.version}, {tally.samples} samples, {tally.missed} missed")
    finally:
        for process in (load, server):
            if process is not None:
                process.terminate()
                process.wait(10)


if __name__ == "__main__":
    main()
