"""What is to happen, in order: a heap of events, each with its instant, process, phase and order of planning.

A timer that has been stopped, or a process that has ended, leaves its events behind; they are known by the number that
they carry and pass without effect.
"""

from __future__ import annotations

from numba import njit

from capsim.engine.kernel.fields import call as C
from capsim.engine.kernel.fields import event as E
from capsim.engine.kernel.fields import process as S
from capsim.engine.kernel.fields import whole as G


@njit
def key_of(when_us, slot, phase):
    """All of the order but that of planning, in one number."""
    return (((min(when_us, E.FAR_US) << E.SLOT_BITS) | slot) << E.PHASE_BITS) | phase


@njit
def plan(m, s, when_us, phase, kind, row):
    """Let something happen to a process, unless it ends before."""
    plan_numbered(m, s, when_us, phase, kind, row, m[s + S.AGE])


@njit
def plan_numbered(m, s, when_us, phase, kind, row, number):
    order = m[G.ORDER]
    m[G.ORDER] = order + 1
    push(m, key_of(when_us, m[s + S.SLOT], phase), order, what_of(kind, row, number))


@njit
def what_of(kind, row, number):
    """An event in one number: what it is, the row that it is of, and which timer or process."""
    return (kind << 58) | (row << 31) | (number & 0x7FFFFFFF)


@njit
def push(m, key, order, what):
    heap, place = m[G.HEAP], m[G.HEAP_SIZE]
    m[G.HEAP_SIZE] = place + 1
    while place > 0:
        parent = (place - 1) >> 1
        above = heap + 3 * parent
        if m[above] < key or (m[above] == key and m[above + 1] < order):
            break
        here = heap + 3 * place
        m[here], m[here + 1], m[here + 2] = m[above], m[above + 1], m[above + 2]
        place = parent
    here = heap + 3 * place
    m[here], m[here + 1], m[here + 2] = key, order, what


@njit
def pop(m):
    """Take the first event off the heap."""
    heap, size = m[G.HEAP], m[G.HEAP_SIZE] - 1
    m[G.HEAP_SIZE] = size
    last = heap + 3 * size
    key, order, what = m[last], m[last + 1], m[last + 2]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        below = heap + 3 * child
        if child + 1 < size and (m[below + 3] < m[below] or (m[below + 3] == m[below] and m[below + 4] < m[below + 1])):
            child, below = child + 1, below + 3
        if key < m[below] or (key == m[below] and order < m[below + 1]):
            break
        here = heap + 3 * place
        m[here], m[here + 1], m[here + 2] = m[below], m[below + 1], m[below + 2]
        place = child
    here = heap + 3 * place
    m[here], m[here + 1], m[here + 2] = key, order, what


@njit
def take_row(m):
    """A free row for a call, or for something to be remembered."""
    row = m[G.FREE]
    m[G.FREE] = m[row + C.NEXT]
    m[G.FREE_COUNT] -= 1
    return row


@njit
def give_row(m, row):
    """A row is free again."""
    m[row + C.NEXT] = m[G.FREE]
    m[G.FREE] = row
    m[G.FREE_COUNT] += 1
