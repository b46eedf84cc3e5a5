"""What differs between a kept audit and one made now, by claim and by change; versions and machines do not count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from capsim.show.audit_page import JSON, texts
from capsim.study.audit.document import Audit, load_audit


def drift(folder: Path, now: Audit) -> list[str]:
    """One line for every difference; empty if the folder holds what would be made now.

    Raises
    ------
    CapsimError
        If there is no audit in the folder.
    """
    kept = load_audit(folder / JSON)
    found = list(_differences("", _told(kept), _told(now)))
    for name, text in texts(kept).items():  # what people read is of the kept document
        path = folder / name
        if not path.is_file():
            found.append(f"{name}: is missing")
        elif name != JSON and path.read_bytes().decode("utf-8", errors="replace") != text:
            found.append(f"{name}: is not that of {JSON} beside it")
    return found


def _told(audit: Audit) -> dict[str, Any]:
    """What is compared, with claims and changes by name."""
    data = audit.model_dump(mode="json", exclude={"provenance", "capsim_version"})
    data["claims"] = {claim["claim"]: claim for claim in data["claims"]}
    data["changes"] = {" / ".join((c["family"], c["change"], c["figure"])): c for c in data["changes"]}
    return data


def _differences(place: str, kept: Any, now: Any) -> Iterator[str]:
    if isinstance(kept, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*kept, *now)):
            inner = f"{place}: {key}" if place else str(key)
            if key not in now:
                yield f"{inner}: is no longer made"
            elif key not in kept:
                yield f"{inner}: is new"
            else:
                yield from _differences(inner, kept[key], now[key])
    elif isinstance(kept, list) and isinstance(now, list) and len(kept) == len(now):
        for number, (a, b) in enumerate(zip(kept, now, strict=True), 1):
            yield from _differences(f"{place} {number}", a, b)
    elif kept != now:
        yield f"{place}: was {kept}, is {now}"
