"""Coverage-guided fuzzing of one parser or of all, with Atheris (libFuzzer): ``make fuzz PARSER=env SECONDS=60``.

What is found is written to ``out/fuzz``; move it into ``corpus/`` when it is repaired, and the tests read it again.
With a table for an example, every second run exchanges values inside it instead of mutating bytes.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]
SEEN_INTO = ["capsim", "parsers", "tomllib", "dotenv", "shlex", "csv", "json", "urllib", "zoneinfo", "http"]
LONGEST_S, LARGEST_MIB = 10, 2048  # of one input, and of the process: more is a hang or a leak
# The engine grows by some 10 KiB an input of some parsers, which read the same inputs without it in bounded memory:
# a run goes in turns, each from what the ones before it reached.
LONGEST_TURN_S, MOST_IN_A_TURN = 300, 100_000
IN_MEMORY = Path("/dev/shm")  # for the files that inputs become, which a disk may take sixty times as long for
LARGEST_KEPT_BYTES, MOST_KEPT = 2_000, 40  # of the corpus, so that the repository stays small


def one(name: str, seconds: int, structure: bool) -> None:
    """Fuzz in this process, which libFuzzer then ends."""
    import atheris

    with atheris.instrument_imports(include=SEEN_INTO):
        import parsers
    out = Path("out/fuzz")
    out.mkdir(parents=True, exist_ok=True)
    # What this run finds worth keeping goes to a folder of its own; `kept` decides how much the repository takes.
    new = out / "new" / name
    new.mkdir(parents=True, exist_ok=True)
    flags = [
        f"-max_total_time={seconds}", f"-runs={MOST_IN_A_TURN}", f"-timeout={LONGEST_S}",
        f"-rss_limit_mb={LARGEST_MIB}", "-max_len=4096",
        f"-artifact_prefix={out}/{name}-", f"-dict={HERE / 'words.dict'}", "-print_final_stats=1", "-verbosity=1",
    ]  # fmt: skip

    def read(data: bytes) -> None:
        parsers.check(name, data)

    if structure:
        from structure import exchanged

        test = exchanged(name)
        atheris.Setup([sys.argv[0], *flags], test.hypothesis.fuzz_one_input)
    else:
        atheris.Setup([sys.argv[0], *flags, str(new), str(parsers.CORPUS / name)], read)
    atheris.Fuzz()


def keep(name: str, seed: int = 0) -> None:
    """Take a small sample of what a run reached into the corpus."""
    known = HERE / "corpus" / name
    known.mkdir(parents=True, exist_ok=True)
    found = sorted(p for p in Path("out/fuzz/new", name).glob("*") if p.stat().st_size <= LARGEST_KEPT_BYTES)
    room = MOST_KEPT - len(list(known.iterdir()))
    for path in random.Random(seed).sample(found, min(len(found), max(room, 0))):
        (known / path.name[:16]).write_bytes(path.read_bytes())


def _cpu_s() -> float:
    """Processor time of the fuzzers that have ended [s]: a crowded machine gives less of it than the clock says."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def turn(name: str, way: str, seconds: int) -> tuple[int, float, int, list[str]]:
    """Fuzz in a process of its own: inputs, CPU [s], exit code, what it said."""
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        command = [sys.executable, __file__, name, f"--seconds={seconds}", "--inside", way]
        before_s = _cpu_s()
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode
        cpu_s = _cpu_s() - before_s
        log.seek(0)
        lines = log.read().splitlines()
    runs = next((line.split()[-1] for line in lines if "number_of_executed_units" in line), "0")
    return int(runs), cpu_s, code, lines


def main() -> None:
    """Run the parsers one after the other, each in a process of its own."""
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    told.add_argument("parsers", nargs="*", help="names; all by default")
    told.add_argument("--seconds", type=int, default=60, help="of CPU, for each")
    told.add_argument("--keep", action="store_true", help="take a small sample of what was reached into the corpus")
    told.add_argument("--inside", choices=["bytes", "structure"], help=argparse.SUPPRESS)
    given = told.parse_args()
    if given.inside:
        one(given.parsers[0], given.seconds, given.inside == "structure")
        return
    import parsers

    if IN_MEMORY.is_dir():
        os.environ.setdefault("TMPDIR", str(IN_MEMORY))
    failed = []
    for name in given.parsers or parsers.PARSERS:
        if name not in parsers.PARSERS:
            sys.exit(f"{name}: there is no such parser; known are {', '.join(parsers.PARSERS)}")
        ways = ["bytes", "structure"] if parsers.PARSERS[name].example else ["bytes"]
        for way in ways:
            inputs, cpu_s, code, share_s = 0, 0.0, 0, given.seconds / len(ways)
            while cpu_s < share_s and not code:  # libFuzzer stops by the clock, of which it may have had a part
                ran, took_s, code, lines = turn(name, way, min(math.ceil(share_s - cpu_s), LONGEST_TURN_S))
                inputs, cpu_s = inputs + ran, cpu_s + took_s
                # After every turn, so that what a run that is stopped has done is known.
                end = "FAILED" if code else "nothing found"
                print(f"{name}, {way}: {inputs} inputs in {cpu_s:.0f} s of CPU, {end}", flush=True)
            if code:
                failed.append(name)
                print("\n".join("    " + line[:300] for line in lines if not line.startswith("#"))[-4_000:], flush=True)
        if given.keep:
            keep(name)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
