"""Settings for all tests."""

import signal

from hypothesis import settings

# No test asserts a time, and a crowded machine is no failure.
settings.register_profile("capsim", deadline=None)
settings.load_profile("capsim")

# A shell starts what runs in its background with Ctrl-C ignored, and children inherit that; some tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
