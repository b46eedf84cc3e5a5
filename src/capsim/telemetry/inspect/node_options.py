"""Options of Node: which take a value, which script it runs, and which heap cap the process gets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

UNREAD = "\ue000"  # stands in a word or a value for text that only a run would know

# Each may be followed by its value as a word of its own (Node's documentation; those of 20.20 run here).
_WITH_VALUE = frozenset((
    "-r", "--require", "--import", "--loader", "--experimental-loader", "--env-file", "--env-file-if-exists", "-C",
    "--conditions", "--title", "--icu-data-dir", "--openssl-config", "--redirect-warnings", "--disable-warning",
    "--diagnostic-dir", "--report-dir", "--report-directory", "--report-filename", "--report-signal",
    "--heapsnapshot-signal", "--heapsnapshot-near-heap-limit", "--max-http-header-size", "--dns-result-order",
    "--unhandled-rejections", "--input-type", "--experimental-default-type", "--trace-event-categories",
    "--trace-event-file-pattern", "--watch-path", "--cpu-prof-dir", "--heap-prof-dir", "--v8-pool-size",
    "--secure-heap", "--secure-heap-min", "--tls-cipher-list", "--tls-keylog", "--inspect-port", "--debug-port",
    "--localstorage-file", "--network-family-autoselection-attempt-timeout", "--test-concurrency",
    "--test-reporter", "--experimental-config-file", "--disable-proto",
    "--force-node-api-uncaught-exceptions-policy", "--use-largepages", "--stack-trace-limit",
))  # fmt: skip
_NO_SCRIPT = ("-e", "--eval", "-p", "--print", "-pe", "--run", "--test")
_CAP = re.compile(r"--max[-_]old[-_]space[-_]size(?:=(.*))?", re.DOTALL)
_SHARE = re.compile(r"--max[-_]old[-_]space[-_]size[-_]percentage(?:=(.*))?", re.DOTALL)


@dataclass(frozen=True)
class HeapCap:
    """What the options say about the heap: a size, a share of the container's memory, neither, or what was not read."""

    mib: int | None = None
    percent: float | None = None
    known: bool = True
    refused: bool = False  # Node ends at once: an option of V8 takes its value after = only


@dataclass(frozen=True)
class NodeArguments:
    """The words of a Node program taken apart."""

    options: tuple[str, ...]
    script: str | None
    runs: str | None = None  # node --run NAME: the script of package.json


def arguments(words: Sequence[str]) -> NodeArguments:
    """Options, and the first word that is neither one nor the value of one.

    Examples
    --------
    >>> arguments(["-r", "dotenv/config", "--max-old-space-size=300", "a.js", "--port", "80"])
    NodeArguments(options=('-r', 'dotenv/config', '--max-old-space-size=300'), script='a.js', runs=None)
    """
    options: list[str] = []
    left = list(words)
    runs: str | None = None
    while left and ((left[0].startswith("-") and left[0] != "-") or left[0] == UNREAD):
        word = left.pop(0)
        if word == "--":
            break
        name, _, value = word.partition("=")
        options.append(word)
        if name == "--run":
            runs = value or (left.pop(0) if left else None)
        if name in _NO_SCRIPT:
            return NodeArguments((*options, *_flags(left)), None, runs)
        if (word in _WITH_VALUE or _takes_number(word, left)) and left:
            options.append(left.pop(0))
    return NodeArguments(tuple(options), left[0] if left and left[0] != "-" else None)


def _flags(words: Sequence[str]) -> list[str]:
    return [word for word in words if word.startswith("--max")]


def _takes_number(word: str, left: Sequence[str]) -> bool:
    """A size written as a word of its own: Node refuses it, and it is no script."""
    return bool(re.fullmatch(r"--max[-_]\w+(?:[-_]\w+)*", word) and left and re.fullmatch(r"\d+", left[0]))


def heap_cap(node_options: str, options: Sequence[str]) -> HeapCap:
    """The cap that a process gets: its own option wins over NODE_OPTIONS, and of each the last one.

    Examples
    --------
    >>> heap_cap("--trace-gc --max_old_space_size=512", []).mib, heap_cap("--max-old-space-size=512", ["-r", "x"]).mib
    (512, 512)
    >>> heap_cap("", ["--max-old-space-size=300"]).mib, heap_cap("", []).mib
    (300, None)
    """
    found = HeapCap()
    share: HeapCap | None = None  # wins over a size, wherever it stands
    left = [*node_options.replace('"', "").split(), *options]
    for number, option in enumerate(left):
        after = left[number + 1] if number + 1 < len(left) else ""
        if (match := _CAP.fullmatch(option)) is not None:
            value = match[1]
            if value is None:
                found = HeapCap(known=False, refused=UNREAD not in after)
            else:
                found = HeapCap(mib=int(value)) if re.fullmatch(r"\d{1,7}", value) else HeapCap(known=False)
        elif (match := _SHARE.fullmatch(option)) is not None:
            value = match[1] or ""
            good = re.fullmatch(r"\d{1,3}(?:\.\d+)?", value)
            share = HeapCap(percent=float(value)) if good else HeapCap(known=False)
        elif UNREAD in option.partition("=")[0]:
            found = HeapCap(known=False)  # may be the cap
        if found.refused:
            break
    return found if share is None or found.refused else share


def semi_space_mib(node_options: str, options: Sequence[str]) -> int | None:
    """--max-semi-space-size [MiB], the last one; None where none says a number."""
    found = [
        int(match[1])
        for option in (*node_options.replace('"', "").split(), *options)
        if (match := re.fullmatch(r"--max[-_]semi[-_]space[-_]size=(\d{1,5})", option))
    ]
    return found[-1] if found else None
