"""The tables, in words that SQLite and PostgreSQL share.

There are no foreign keys to games, users or sessions: the rows of a batch come from many clients, and one that
names an unknown session would fail all of them.
"""

from __future__ import annotations

TABLES = (
    "CREATE TABLE IF NOT EXISTS games (id TEXT PRIMARY KEY, first_seen_ms BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, game_id TEXT NOT NULL, first_seen_ms BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, game_id TEXT NOT NULL, user_id TEXT NOT NULL, "
    "started_ms BIGINT NOT NULL, last_heartbeat_ms BIGINT NOT NULL, ended_ms BIGINT)",
    "CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, game_id TEXT NOT NULL, user_id TEXT NOT NULL, "
    "session_id TEXT, name TEXT NOT NULL, properties TEXT NOT NULL, at_ms BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS revenue (id TEXT PRIMARY KEY, game_id TEXT NOT NULL, user_id TEXT NOT NULL, "
    "session_id TEXT, amount_micros BIGINT NOT NULL, currency TEXT NOT NULL, at_ms BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS sessions_alive ON sessions (last_heartbeat_ms) WHERE ended_ms IS NULL",
    "CREATE INDEX IF NOT EXISTS events_of_game ON events (game_id, at_ms)",
)
