"""A visit of the database: a run of the cleanup, a read, a call of the metrics."""

PART, NUMBER, START_US, CALLS, ROWS, CPU_US, QUERY, BYTES, PACK_US, ASKS, NEXT = range(11)
SIZE = 11
