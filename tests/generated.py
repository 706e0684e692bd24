"""What is generated from the settings' own types and descriptions: `docs/settings.md` and the JSON schemas."""

from pathlib import Path

from orchestrator.config.keys import all_keys
from orchestrator.config.schema_files import shipped_schemas
from orchestrator.config.settings_page import settings_page

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"


def generated() -> dict[Path, str]:
    """The files with what they should hold."""
    return {PAGE: settings_page(all_keys(shipped_only=True)), **shipped_schemas()}


if __name__ == "__main__":
    for file, text in generated().items():
        file.write_text(text, encoding="utf-8")
