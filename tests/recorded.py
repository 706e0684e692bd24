"""The record of what shipped kinds do: a changed behaviour needs another version.

`make record` writes it anew, and with it the hashes of the shipped source. It refuses to record another behaviour under
a version that has been recorded: whatever stores hold of that version would be taken for what the code does now.
"""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from behaviours import behaviours, shipped_sources

from latent_core import code_identity

RECORD = Path(__file__).parent / "unit" / "latent_core" / "behaviour.json"
SHIPPED = Path(code_identity.__file__).with_name("shipped.py")
_REL, _ABS = 1e-4, 1e-5
"""How far numbers may differ from processor to processor; noise that is 1 % larger differs by a hundred times that."""


def plain(content: Any) -> Any:
    """What JSON makes of something."""
    return json.loads(json.dumps(content))


def same(one: Any, other: Any) -> bool:
    """Whether two behaviours are equal, numbers nearly."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_REL, abs_tol=_ABS)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def trouble(recorded: Mapping[str, Any], kind: str, version: int, behaviour: Any) -> str | None:
    """Say why a behaviour is not the recorded one, and what to do; None where all is well."""
    if kind not in recorded:
        return f"{kind}: its behaviour is not recorded yet; run `make record`"
    before = recorded[kind]
    if version < before["version"]:
        return f"{kind}: version {version}, but {before['version']} has been recorded; versions only rise"
    if version > before["version"]:
        return f"{kind}: version {version} is not recorded yet; run `make record`"
    if same(plain(behaviour), before["behaviour"]):
        return None
    if kind.startswith("task "):
        return (
            f"{kind}: it asks other questions than the recorded ones, and what stores hold of it is found no more; if "
            f"that is meant, delete its entry from {RECORD.name} and run `make record`"
        )
    return (
        f"{kind}: it behaves differently from what is recorded of version {version}, and what stores hold of it would "
        f"be taken for its own; set its version to {version + 1} and run `make record`"
    )


def recorded_behaviours() -> dict[str, Any]:
    """The record."""
    content: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    return content


def source_text(sources: Mapping[str, str]) -> str:
    """The content of `latent_core/shipped.py`."""
    before, _, _ = SHIPPED.read_text(encoding="utf-8").partition("SOURCES:")
    lines = "".join(f'    "{name}": "{digest}",\n' for name, digest in sources.items())
    return f"{before}SOURCES: Final[Mapping[str, str]] = {{\n{lines}}}\n"


def record() -> int:
    """Write the record and the hashes of the source, unless a version would have to be raised; returns 1 then."""
    recorded, now = recorded_behaviours(), behaviours()
    troubles = [trouble(recorded, kind, *one) for kind, one in now.items()]
    refused = [text for text in troubles if text is not None and not text.endswith("yet; run `make record`")]
    if refused:
        sys.stderr.write("\n".join(refused) + "\n")
        return 1
    # What a processor rounds otherwise is no news.
    kept = {
        kind: recorded[kind] if text is None else {"version": one[0], "behaviour": plain(one[1])}
        for (kind, one), text in zip(now.items(), troubles, strict=True)
    }
    # A kind a line, so that a change shows as one.
    lines = (f"{json.dumps(kind)}: {json.dumps(kept[kind], sort_keys=True)}" for kind in sorted(kept))
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    SHIPPED.write_text(source_text(shipped_sources()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(record())
