"""What can happen, and in which order inside an instant."""

# Phases (DESIGN §4); of one instant all phases of one process come before those of the next.
TIMER, DATABASE, ARRIVAL, COMPLETION, VISIT, RETRY = 10, 20, 30, 31, 32, 35
SHUTDOWN, REQUEST, POOL, THREAD = 40, 50, 60, 61
SLOT_BITS, PHASE_BITS = 10, 6
NEVER_US = 1 << 62
FAR_US = 1 << 46  # two years: behind every end, and an instant that a key still holds

(SIGTERM, LOOK, WRITER_TIMER, WRITER_REQUEST, NEXT_ATTEMPT, ARBITRATE, START, OPENED, DISCARD, CALL_END, EXPIRY, AGAIN,
 JOB, RESULT_BUILT, CLEANUP, METRICS, RESUME, DOWN) = range(18)  # fmt: skip

DONE, NEED_DRAWS, NEED_ROOM, ENDED, PAUSE = range(5)  # why the kernel stops

EVENTS, REVENUE, HEARTBEATS, OTHER = range(4)
CLEANUP_PART, QUERIES_PART, METRICS_PART = 3, 4, 5
INSERT, UPDATE, QUERY = range(3)
SEED, FIXED, RECOMMENDED = range(3)
NONE, LIVE, SPENT = range(3)  # a timer
STALL, FAIL, SLOWED, IS_DOWN, FULL = range(5)  # a fault
START_US, LAST_US, LEAVES_US, LIVE_TO_US, IS_OPEN = range(5)  # of a session
SESSION_SIZE, READ_SIZE = 5, 9
LINES_OF_REQUESTS, INFO, ERROR, WARN = range(4)

PAUSE_EVENTS = 1 << 22  # so often the kernel lets Python look whether someone wants it to stop
ROOM = 64  # of everything that grows: as much must be free for any one event
BLOCK_DRAWS, KEPT_DRAWS = 8_192, 4  # draws made at once, as `capsim.base.rng.Table` makes them; and blocks kept
STEPS = 64  # bins of response times from one power of two to the next
TIME_BINS = STEPS * 58
LONGEST_CALL_US = 366 * 86_400 * 1_000_000  # nothing lasts longer; the largest of scattered draws is endless
