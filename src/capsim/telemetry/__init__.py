"""What a real server said: record it, measure it, fit constants to it, hold its bill against predictions."""
