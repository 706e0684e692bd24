"""`latentswarm config`: what can be set."""

import json
import shutil
import textwrap
from typing import TYPE_CHECKING

import click

from latent_core.errors import UserError
from latent_core.registry import nearest_hint
from orchestrator.commands.options import examples

if TYPE_CHECKING:
    from orchestrator.config.keys import Key

_INDENT = " " * 4


@click.command(
    "config",
    epilog=examples("config search", "config --plugin my_noise.py sampler --json"),
)
@click.argument("key", metavar="[KEY]", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON, a list of keys.")
@click.option("--markdown", is_flag=True, help="As a page in Markdown.")
@click.option("--schema", metavar="COMMAND", help="The JSON schema of a command's configuration, for editors.")
@click.option("--plugin", "plugins", metavar="MODULE", multiple=True, help="A module or a .py file, as in plugins.")
def command(key: str | None, as_json: bool, markdown: bool, schema: str | None, plugins: tuple[str, ...]) -> None:
    """Say what can be set: every key, or KEY and what is below it, with type, default and meaning."""
    given = [name for name, one in (("--json", as_json), ("--markdown", markdown), ("--schema", schema)) if one]
    if len(given) > 1 or (schema is not None and key is not None):
        raise UserError(f"{' and '.join([*given, *['KEY'] * (len(given) < 2)])}: give one of them")
    from latent_core.plugins import load_plugins
    from orchestrator.config.configurations import CONFIGURED

    load_plugins(plugins)
    if schema is not None:
        if schema not in CONFIGURED:
            raise UserError(f"--schema {schema}: {nearest_hint(schema, list(CONFIGURED))}")
        from orchestrator.config.schema import config_schema
        from orchestrator.config.schema_files import schema_text

        click.echo(schema_text(config_schema(schema)), nl=False)
        return
    from orchestrator.config.keys import all_keys, matching

    keys = all_keys() if key is None else matching(all_keys(), key)
    if as_json:
        click.echo(json.dumps([one.to_plain() for one in keys], indent=1, ensure_ascii=False))
    elif markdown:
        from orchestrator.config.settings_page import settings_page

        click.echo(settings_page(keys), nl=False)
    elif key is None:
        _list(keys)
    else:
        for one in keys:
            _explain(one)


def _list(keys: "list[Key]") -> None:
    """Print a line for each key: its name, and its default."""
    from orchestrator.config.keys import by_command

    width = max(len(_title(one)) for one in keys)
    for commands, own, shared in by_command(keys):
        before = f" (as above: {', '.join(shared)})" if shared else ""
        click.echo(f"{', '.join(commands)}{before}:")
        for one in own:
            click.echo(f"  {_title(one):{width}}  {_default(one)}".rstrip())
        click.echo()
    click.echo("`latentswarm config KEY` says what a key does and what it takes.")


def _explain(key: "Key") -> None:
    """Print all that is known of a key."""
    width = max(40, shutil.get_terminal_size((100, 24)).columns)
    said = {"": key.description, "takes": key.type, "default": _default(key), "since": key.since}
    click.echo(f"{_title(key)}  ({', '.join(key.commands)})")
    for word, text in said.items():
        if text:
            first = f"{_INDENT}{word:9}" if word else _INDENT
            click.echo(textwrap.fill(text, width, initial_indent=first, subsequent_indent=" " * len(first)))
    click.echo()


def _title(key: "Key") -> str:
    return f"{key.name} [{key.of}]" if key.of else key.name


def _default(key: "Key") -> str:
    return "required" if key.default is None else key.default
