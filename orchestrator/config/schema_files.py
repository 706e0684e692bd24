"""Schema files: JSON schemas of configurations as they lie beside the code."""

import json
from pathlib import Path

from orchestrator.config.configurations import readers
from orchestrator.config.schema import Schema, config_schema
from orchestrator.config.shipped import SCHEMAS


def schema_text(schema: Schema) -> str:
    """Return a schema as its file has it."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def shipped_schemas() -> dict[Path, str]:
    """Return the schema files that are shipped, with their content: one for each kind of configuration."""
    return {
        SCHEMAS / f"{commands[0]}.json": schema_text(config_schema(commands[0], shipped_only=True))
        for commands in readers().values()
    }
