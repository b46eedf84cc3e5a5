"""What follows from how the server is started: which shell, which process gets SIGTERM, which heap cap."""

from __future__ import annotations

from collections.abc import Iterator

from capsim.telemetry.inspect import programs
from capsim.telemetry.inspect.effective import Effective
from capsim.telemetry.inspect.finding import ConfigFinding
from capsim.telemetry.inspect.start_command import Start
from capsim.telemetry.inspect.started import Started


def process_findings(e: Effective) -> Iterator[ConfigFinding]:
    """Findings about the start command and who gets SIGTERM, in the order in which they are looked for."""
    yield from _unknown(e.start)
    if e.start.unshelled:
        yield ConfigFinding(
            "no shell reads it",
            "outage",
            e.start.place,
            "a Dockerfile deployment runs the command without a shell: operators and variables in it are "
            "plain words to the first program",
            'wrap it: /bin/sh -c "exec ..."',
        )
    if e.server is not None:
        yield from _heap_cap(e, e.server)
        if e.server.if_failed:
            yield ConfigFinding(
                "server starts on failure only",
                "outage",
                e.start.place,
                "it stands after ||, so it runs only if the command before it fails",
                "write && instead of ||",
            )
        yield from _sigterm(e.start.place, e.server)
    yield from _variable(e)


def _unknown(start: Start) -> Iterator[ConfigFinding]:
    if start.note:
        kind = "builder not certain" if start.read_by else "Dockerfile not given"
        yield ConfigFinding(kind, "note", start.place, start.note, "name the builder, or give its files")
    beside = [step for step in start.started if step.beside and step.serves]
    if start.server is not None and beside:
        yield ConfigFinding(
            "another program beside it",
            "note",
            start.place,
            f"{', '.join(step.told for step in beside)} runs in the same container; {start.server.told}, which is "
            "started last, is taken for the server",
            "start each as a service of its own",
        )
    if start.problem:
        yield ConfigFinding("start command unknown", "note", start.place, start.problem, start.remedy)
    elif start.server is None:
        main, serving = start.main, [step for step in start.started if step.serves]
        if main is None and len(serving) > 1:
            what = f"several programs are started side by side: {', '.join(step.told for step in serving)}"
            remedy = "start each as a service of its own"
        elif main is not None and main.program in programs.SEVERAL:
            what = f"{main.program} starts scripts of packages, and which of them is the server its own files say"
            remedy = "start the server's own script"
        elif main is not None and main.program in programs.MANAGERS:
            what = f"{main.program} runs a script of a package.json that was not given, or that has no such script"
            remedy = "give the folder that holds it"
        else:
            told = f"{main.told} is" if main is not None else "none of the commands is"
            what = f"{told} not known to be a Node server, so its SIGTERM and its heap cap are not known"
            remedy = "set the knobs in the scenario"
        yield ConfigFinding("server unknown", "note", start.place, what, remedy)


def _heap_cap(e: Effective, server: Started) -> Iterator[ConfigFinding]:
    cap, place = server.heap_cap, e.start.place
    others = [step for step in e.start.started if step is not server and step.cap_given]
    if cap.refused:
        yield ConfigFinding(
            "Node refuses an option",
            "outage",
            place,
            "--max-old-space-size takes its value after = only; with a blank Node ends at once (exit code 9)",
            "write --max-old-space-size=...",
        )
    elif not cap.known:
        yield ConfigFinding(
            "heap cap unknown",
            "note",
            place,
            "the server's options hold a value that only a run would know",
            "write the number, or set server.node.heap_cap_mib in the scenario",
        )
    elif cap.mib is None and cap.percent is None and others:
        yield ConfigFinding(
            "heap cap misses the server",
            "outage",
            place,
            f"NODE_OPTIONS caps the heap of {others[0].told} at {others[0].cap_given} MiB; a variable set before "
            f"one command belongs to that command only, so {server.told} starts without a cap",
            "make NODE_OPTIONS a variable of the service, or write it before the server's own command",
        )


def _sigterm(place: str, server: Started) -> Iterator[ConfigFinding]:
    if server.sigterm or (server.sigterm is None and server.keeps_sigterm is None):
        return
    keeper = server.keeps_sigterm or ""
    is_manager = keeper in (*programs.MANAGERS, "npx")
    what = f"a package manager ({keeper})" if is_manager else f"a shell or wrapper ({keeper})"
    remedy = f"end the start command with: exec {server.told}"
    if server.sigterm is None:
        yield ConfigFinding(
            "SIGTERM may be swallowed",
            "loss",
            place,
            f"{what} stands above {server.told}, and it is not known to pass SIGTERM on in every version or image: "
            "without it the writers' shutdown never runs, and every deploy loses what is buffered and in flight",
            remedy,
        )
        return
    yield ConfigFinding(
        "SIGTERM swallowed",
        "loss",
        place,
        f"{what} stands above {server.told} and keeps SIGTERM to itself: the writers' shutdown "
        "never runs, and every deploy loses what is buffered and in flight",
        remedy,
    )


def _variable(e: Effective) -> Iterator[ConfigFinding]:
    place, value = e.declared.variable_places.get("NODE_OPTIONS", ""), e.declared.variable("NODE_OPTIONS")
    if ".env" in place and "max" in (value or ""):
        yield ConfigFinding(
            "NODE_OPTIONS from a file",
            "note",
            place,
            "taken as a variable of the service; a .env that the program itself loads comes too late, since "
            "Node reads NODE_OPTIONS when it starts",
            "set it among the service's variables",
        )
