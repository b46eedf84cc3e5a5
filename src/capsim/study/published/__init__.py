"""The tables under ``data/tables/``: made by one command, checked against what is committed.

`runs` simulates what they share; `memory`, `bills`, `loads`, `doubt` and `market` make them, `pages` writes them as
CSV, Markdown and HTML, `drift` compares them with a folder.
"""
