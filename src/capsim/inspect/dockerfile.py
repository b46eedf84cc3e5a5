"""Dockerfile: the variables and the command that the image gives its container."""

from __future__ import annotations

import re
from typing import Any

from capsim.errors import CapsimError
from capsim.inspect.plain import json_of


def dockerfile(text: str, source: str) -> dict[str, Any]:
    """ENV and the command of the last stage."""
    found: dict[str, Any] = {"env": {}, "command": None, "shell": False}
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        match word.upper():
            case "FROM":
                found = {"env": {}, "command": None, "shell": False}
            case "ENV":
                pairs = re.findall(r"(\w+)=(\"[^\"]*\"|'[^']*'|\S+)", rest) or [tuple(rest.split(None, 1))]
                found["env"] |= {pair[0]: pair[1].strip("\"'") for pair in pairs if len(pair) == 2}
            case "CMD" | "ENTRYPOINT" if not (word.upper() == "CMD" and found.get("entrypoint")):
                found["entrypoint"] = word.upper() == "ENTRYPOINT"
                found["shell"] = not rest.startswith("[")
                if found["shell"]:
                    found["command"] = rest
                else:
                    import shlex

                    words = json_of(rest, f"{source}: {word}")
                    if not (isinstance(words, list) and all(isinstance(w, str) for w in words)):
                        raise CapsimError(f"{source}: {word} is no list of texts; write each word in double quotes")
                    found["command"] = shlex.join(words)
    return found
