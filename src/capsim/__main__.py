"""``python -m capsim`` is ``capsim``."""

from capsim.cli import main

main(prog_name="capsim")
