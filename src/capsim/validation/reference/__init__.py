"""The server a second time, and running: asyncio, a real database, a real Redis, real or virtual time.

It is a witness for the model, so it shares with it only the scenario, the tables, the units and the load: nothing of
`capsim.engine` or `capsim.memory`, as a contract of import-linter holds.
"""
