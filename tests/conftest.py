"""Settings for all tests."""

from hypothesis import settings

# No test asserts a time, and a crowded machine is no failure.
settings.register_profile("capsim", deadline=None)
settings.load_profile("capsim")
