"""A call of the database, or what another event has to remember."""

(PROCESS, PART, KIND, ATTEMPT, ITEM, ROWS, ASKED_US, STATE, OPENS, REFUSED, OWNER, NEXT, ORDER, OK) = range(14)
SIZE = 14
WAITS, GRANTED, FAILED, TOO_LATE = range(4)
