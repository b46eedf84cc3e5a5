"""The measuring kit: a small Node server with our writers, loaded and sampled, so that constants can be refitted.

`capsim measure` writes a series and its companion file; `capsim validate memory` reads them. `docs/measuring.md`
describes both.
"""
