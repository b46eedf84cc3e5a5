"""What a failure means to the person who runs the server: in words, and what shows it.

Nothing here decides whether a failure happens; that is simulated. These are the words for one that did.
"""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """For one kind: what happens, what shows it, the alert that would have caught it."""

    happens: str
    shows: str
    alert: str


WORDS = {
    "wedge": Words(
        "the buffer of {part} fills up during one flush and is never written again: a full buffer asks for no "
        "flush, and the timer is spent",
        "one error line for every item refused; totalDropped rises, totalFlushed stands still; the health check passes",
        "totalFlushed of {part} unchanged for 3 delays while its buffer is not empty",
    ),
    "stuck items": Words(
        "items of {part} that came during a long flush wait without a timer until a whole batch has gathered",
        "nothing: no counter moves and no line is logged; only the buffer of the metrics page stays above 0",
        "buffer of {part} above 0 and totalFlushed unchanged for 2 delays",
    ),
    "longer flushes": Words(
        "each flush of {part} takes longer than the last, because more items arrive in it than it wrote",
        "no counter until the buffer is full; the buffer of the metrics page grows from flush to flush",
        "time between two flushes of {part} above 2 delays, or its buffer above 3 batches for 5 minutes",
    ),
    "growing backlog": Words(
        "work arrives at {part} faster than it is done, without end",
        "response times and the buffer of the metrics page; no error line before a limit is met",
        "backlog of {part} above 5 batches (loop: 1 s) for 5 minutes",
    ),
    "pool starvation": Words(
        "database calls wait for a connection longer than a second, or in vain",
        "an error line for each call that timed out; nothing for those that only waited",
        "any pool timeout, or wait for a connection above 1 s",
    ),
    "refused connections": Words(
        "the pool opens more connections than Postgres lets in",
        "an error line for each refused call",
        "connections above 80 % of max_connections",
    ),
    "cap drops": Words(
        "the buffer of {part} is full for a while and refuses items",
        "one error line for every item refused; totalDropped rises",
        "totalDropped of {part} rises at all",
    ),
    "log lines lost": Words(
        "more than 500 error lines a second are written, and the platform drops the rest",
        "a note of the platform in the log; the dropped lines themselves are gone",
        "totalDropped rises by more than 500 in a second",
    ),
    "batches given up": Words(
        "both tries of a flush of {part} fail within moments of each other, and the batch is dropped while the buffer "
        "stands nearly empty",
        "one error line a batch; totalDropped rises by the batch",
        "any flush of {part} given up",
    ),
    "uncounted loss": Words(
        "single updates of {part} fail and are forgotten",
        "nothing: no counter holds them",
        "arrived minus written, dropped and buffered items of {part} above 0 (needs a counter of failed updates)",
    ),
    "shutdown loss": Words(
        "what {part} holds when its process ends, and what comes while none is healthy, is lost",
        "nothing: the counters end with the process",
        "items buffered and in flight above 0 in the last line of a process, or no such line",
    ),
    "heap exhausted": Words(
        "the process runs out of heap and exits", "exit 134 and a restart", "heap above 80 % of its cap"
    ),
    "container hang": Words(
        "memory leaves too little of the container for the program's own files, which are read again and again: the "
        "process lives and answers nothing",
        "no answer, memory at the container's limit, half a CPU; no exit, so nothing restarts it until a deploy",
        "memory above 80 % of the container's limit, or a check from outside that fails twice",
    ),
    "container kill": Words(
        "memory meets the container's limit while another container holds the program's own files: the kernel kills it",
        "exit 137 and a restart; nothing in the log",
        "memory above 80 % of the container's limit",
    ),
    "restart loop": Words(
        "the process fails more often than it may be restarted, and the service stays down",
        "the deployment is marked as crashed; requests are refused",
        "2 restarts within 10 minutes",
    ),
    "no heap cap": Words(
        "the server starts without a heap cap: a leak grows to V8's own limit before anything stops it, and is billed",
        "nothing until the exit; the bill",
        "heap above 200 MiB",
    ),
    "billed memory grows": Words(
        "Postgres keeps what it writes in its page cache, which is billed and never given back by itself",
        "memory of the Postgres service; no counter of the server",
        "billed memory of Postgres at its daily minimum above that of a week ago",
    ),
    "volume full": Words(
        "the volume of Postgres is full and every write fails",
        "an error line for every call from then on",
        "volume above 80 %",
    ),
}  # fmt: skip


def filled(text: str, part: str) -> str:
    """A sentence about one part.

    Examples
    --------
    >>> filled("the buffer of {part}", "events")
    'the buffer of events'
    """
    return text.replace("{part}", part)
