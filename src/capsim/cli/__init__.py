"""The command line: parsing and printing only.

`capsim --help` is answered from the table below; a command's module is imported when the command is called.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, NoReturn

import click

from capsim.base.errors import RAN_OUT, CapsimError, concealed, visible

# Exit codes; 0 is done, with findings or without.
FAILED, BAD_INPUT, MACHINE_FAILED, INTERRUPTED = 1, 2, 3, 130


class Lazy(NamedTuple):
    """Where a command lives, and its line in the overview."""

    place: str
    summary: str


COMMANDS = {
    "run": Lazy("capsim.cli.run:run", "Predict memory, losses and the bill of one scenario."),
    "compare": Lazy("capsim.cli.compare:compare", "The same for two scenarios or more, side by side."),
    "tables": Lazy("capsim.cli.tables:tables", "Make the tables of data/tables again, or check them."),
    "audit": Lazy("capsim.cli.audit:audit", "The plan's claims beside predictions, switch by switch."),
    "sweep": Lazy("capsim.cli.sweep:sweep", "Run one scenario at many points, on many cores."),
    "findings": Lazy("capsim.cli.findings:findings", "What could break, the smallest trigger, and what helps."),
    "optimize": Lazy("capsim.cli.optimize:optimize", "The cheapest configuration that meets the targets."),
    "trace": Lazy("capsim.cli.trace:trace", "Describe, import, convert or make a recorded load."),
    "scenario": Lazy("capsim.cli.scenario:scenario", "Check a scenario file; list its keys."),
    "inspect": Lazy("capsim.cli.inspect:inspect", "Read railway.json, .env and the like as the platform does."),
    "serve": Lazy("capsim.cli.serve:serve", "Run the reference server over HTTP."),
    "lab": Lazy("capsim.cli.lab:lab", "Open JupyterLab with the notebooks, the tour first."),
    "report": Lazy("capsim.cli.report:report", "Run a notebook on another load, and write it as a page."),
    "app": Lazy("capsim.cli.app:app", "Open the explorer: a page whose knobs redraw a day."),
    "validate": Lazy("capsim.cli.validate:validate", "Hold the model against recorded truth."),
    "measure": Lazy("capsim.cli.measure:measure", "Load and sample a small Node server."),
    "record": Lazy("capsim.cli.record:record", "Sample /api/metrics of a running server."),
    "calibrate": Lazy("capsim.cli.calibrate:calibrate", "Fit constants to a recording of a running server."),
}


class LazyGroup(click.Group):
    """A group that imports what it runs, and words every failure that is not a bug in one line."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Begin: the streams first, which whoever started this process may have closed."""
        reopen()
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table, the main job first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].place.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in COMMANDS.items()])

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the arguments, and answer --help and --version."""
        with worded():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with worded():
            return super().invoke(ctx)


@contextmanager
def worded() -> Iterator[None]:
    """Turn what goes wrong outside of capsim into one line and an exit code; a bug stays a traceback."""
    try:
        yield
    except CapsimError as error:
        fail(*error.problems, code=error.exit_code)
    except click.exceptions.NoArgsIsHelpError:
        raise  # shows the help
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "capsim"
        fail(f"{error.format_message().rstrip('.')}; see {command} --help")
    except KeyboardInterrupt:
        fail("interrupted", code=INTERRUPTED)
    except MemoryError:
        fail("out of memory; use a shorter load (--from, --to) or fewer --workers", code=MACHINE_FAILED)
    except BrokenPipeError:
        quiet()
        raise click.exceptions.Exit(0) from None  # the reader has seen enough
    except OSError as error:
        if error.errno is None:
            raise
        place = error.filename or "output"  # stdout has no name
        if not error.filename:
            with suppress(OSError):  # a stdout that is no file
                quiet()  # what could not be written is still in its buffer, and would fail again on the way out
        fail(
            f"{place}: {os.strerror(error.errno)}; check the path, its rights and the free space",
            code=MACHINE_FAILED if error.errno in RAN_OUT else BAD_INPUT,
        )


def fail(*problems: str, code: int = BAD_INPUT) -> NoReturn:
    """Print one line per problem on stderr and leave."""
    for problem in problems:
        click.echo("capsim: " + visible(" ".join(concealed(problem).splitlines())), err=True)
    raise click.exceptions.Exit(code)


def quiet() -> None:
    """Let the rest of stdout, and Python's own flush at the end, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reopen() -> None:
    """Make the standard streams fit to be written.

    Where one is closed, the next file that is opened would take its number, so something is put there.

    A closed stdout is opened for reading only: writing to it fails and is told, as an answer that nobody gets is no
    success. What goes to a closed stderr is dropped, and does not turn up on stdout, where ``print`` would put it.
    A document that goes into a file or a pipe is UTF-8 in every locale, so its bytes are the same everywhere.
    """
    if sys.stdout is None:
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    elif isinstance(sys.stdout, io.TextIOWrapper):
        if sys.stdout.isatty():
            sys.stdout = Terminal(sys.stdout)
        else:
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # file names come out as they came in
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    elif isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr.isatty():
        sys.stderr = Terminal(sys.stderr)


class Terminal(io.TextIOWrapper):
    """A terminal that shows control characters: the name of a file may hold some, and the terminal would obey them.

    Attributes
    ----------
    unescaped : TextIOWrapper
        The same terminal, for a bar of progress, which moves the cursor.
    """

    def __init__(self, unescaped: io.TextIOWrapper) -> None:
        super().__init__(unescaped.buffer, unescaped.encoding, "backslashreplace", line_buffering=True)
        self.unescaped = unescaped

    def write(self, text: str) -> int:
        """Write a text, its control characters escaped."""
        return super().write(visible(text))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="capsim", prog_name="capsim")
def main() -> None:
    """Predict the memory, the losses and the bill of a small server before it is deployed.

    \b
    Example:
      capsim compare before after --trace access.log.gz --out out

    \b
    Exit codes:
      0    done
      1    a check that was asked for has failed
      2    bad input
      3    the machine failed: a worker process died, or memory, disk or open files ran out
      130  interrupted
    """
