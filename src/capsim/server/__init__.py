"""The server as a discrete-event model: arrivals are arrays, flushes are events."""
