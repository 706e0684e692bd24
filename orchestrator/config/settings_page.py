"""Settings page: the reference of all keys as Markdown, a table for each section."""

from collections.abc import Sequence
from itertools import groupby

from orchestrator.config.keys import Key, by_command
from orchestrator.config.schema import FIRST_RELEASE

_HEAD = """\
<!-- Written by `make record` from the settings' own types and descriptions; do not edit. -->
# Settings

Every key of every configuration. `latentswarm config` says the same in a terminal, with what installed plugins add:

```
latentswarm config                       # all keys
latentswarm config search                # those of a section
latentswarm config sampler.sigma --json
latentswarm config --schema run          # JSON schema for editors
```

On the command line keys are written with dots (`task.limit=10`), in a file as sections. A default in *italics* stands
for a key that has to be given, or for a section. All keys are there since {first} where nothing else is said.

The first lines of shipped configurations name a JSON schema, so that editors with a YAML language server complete keys,
show what they do and mark what is misspelt: `# yaml-language-server: $schema=...`.
"""


def settings_page(keys: Sequence[Key]) -> str:
    """Return the page of some keys, in their order."""
    lines = [_HEAD.replace("{first}", FIRST_RELEASE)]
    for commands, own, shared in by_command(keys):
        lines.append(f"## {_spoken(commands)}\n")
        if shared:
            lines.append(f"As above: {_spoken(shared)}.\n")
        # Those that only some kinds have stand behind those that are always there.
        for (section, kind), rows in groupby(sorted(own, key=_of_kind), _of_kind):
            if kind:
                lines.append(f"`{section}`, where it is `{kind}`:\n")
            lines += ["| key | takes | default | |", "|---|---|---|---|", *map(_row, rows), ""]
    return "\n".join(lines)


def _of_kind(key: Key) -> tuple[str, str]:
    return (key.name.partition(".")[0] if key.of else "", key.of)


def _row(key: Key) -> str:
    default = "*required*" if key.default is None else f"`{key.default}`" if key.default else "*section*"
    since = "" if key.since == FIRST_RELEASE else f" Since {key.since}."
    cells = (f"`{key.name}`", key.type, default, key.description + since)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _spoken(names: Sequence[str]) -> str:
    *first, last = (f"`{name}`" for name in names)
    return f"{', '.join(first)} and {last}" if first else last
