"""The simulated server: its parts, its processes, and the facts that they leave."""
