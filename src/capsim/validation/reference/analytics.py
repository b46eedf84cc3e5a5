"""Reads: a query that holds a connection and loads its result, behind a cache with a time to live."""

from __future__ import annotations

import json
from typing import Any

from capsim.scenario.parts import QueriesSpec
from capsim.validation.reference.cache import Away, Cache, Kept
from capsim.validation.reference.clock import Clock
from capsim.validation.reference.database import CallFailed, Statement
from capsim.validation.reference.log import Log
from capsim.validation.reference.observer import Visited, Watch
from capsim.validation.reference.pool import Pool


class Analytics:
    """The server's reads; those that miss the cache at the same time all ask the database.

    Parameters
    ----------
    spec : QueriesSpec
        Of the scenario: how many rows a result has at most.
    cache : Cache or None
        In front of them.
    clock, pool, log, watch
        Of the server.
    """

    def __init__(
        self, spec: QueriesSpec, cache: Cache | None, clock: Clock, pool: Pool, log: Log, watch: Watch
    ) -> None:
        self._most = None if spec.take_rows == "none" else spec.take_rows
        self._cache, self._clock, self._pool, self._log, self._watch = cache, clock, pool, log, watch
        self.reads = 0

    async def events(self, game_id: str, take: int | None = None, skip: int = 0) -> str:
        """The latest events of a game, as JSON text.

        Parameters
        ----------
        game_id : str
            Of which game.
        take : int or None
            How many; None for as many as the scenario allows, and never more than that.
        skip : int
            How many to leave out.

        Raises
        ------
        CallFailed
            If the database could not be asked.
        """
        visit = Visited("queries", self.reads, self._clock.now_us())
        self.reads += 1
        if self._most is not None:
            take = self._most if take is None else min(take, self._most)
        try:
            answer = await self._answer(visit, json.dumps(["analytics", game_id, take, skip]), (game_id, take, skip))
        except CallFailed as error:
            self._log.error(f"analytics: {error}")
            self._watch.visited(visit.over(self._clock.now_us(), ok=False))
            raise
        visit.rows = answer.rows
        self._watch.visited(visit.over(self._clock.now_us()))
        return answer.text

    async def _answer(self, visit: Visited, key: str, values: tuple[Any, ...]) -> Kept:
        cache = self._cache
        if cache is not None:
            try:
                kept = await cache.get(key)
            except Away:
                cache = None
            else:
                visit.cached = kept is not None
                if kept is not None:
                    return kept
        visit.calls += 1
        found = (await self._pool.call(Statement("analytics", "queries", values, visit.number))).rows
        answer = Kept(len(found), json.dumps({"events": found}))
        if cache is not None:
            cache.keep(key, answer)
        return answer
