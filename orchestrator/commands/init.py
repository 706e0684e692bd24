"""`latentswarm init`: a configuration to begin with."""

import re
import shlex
from pathlib import Path

import click

from latent_core.errors import UserError
from latent_core.registry import nearest_hint
from orchestrator.commands.options import PATH, examples
from orchestrator.config.shipped import SCHEMAS, shipped_configs
from orchestrator.console import make_console, say

_SCHEMA = re.compile(r"(\$schema=)\.\./\S*/(\S+\.json)")


@click.command("init", epilog=examples("init demo", "init word_problems --out mine.yaml"))
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--out", type=PATH, metavar="FILE", help="Where to write it (default: NAME.yaml in this directory).")
def command(name: str | None, out: Path | None) -> None:
    """Write a configuration that comes with latentswarm; without NAME, list them."""
    configs = shipped_configs()
    if name is None:
        width = max(map(len, configs))
        for one, file in configs.items():
            click.echo(f"{one:{width}}  {_title(file)}")
        return
    if name not in configs:
        raise UserError(
            f"{name}: no configuration of this name comes with latentswarm; {nearest_hint(name, list(configs))}"
        )
    target = out or Path(f"{name}.yaml")
    text = configs[name].read_text(encoding="utf-8")
    # The commands in its comments are those of a checkout.
    text = text.replace(f"tune_configs/{name}.yaml", shlex.quote(str(target))).replace("tune_configs/", "")
    text = _SCHEMA.sub(lambda found: f"{found[1]}{(SCHEMAS / found[2]).as_uri()}", text)
    try:
        # What somebody has changed must not be replaced.
        with target.open("x", encoding="utf-8") as written:
            written.write(text)
    except FileExistsError:
        raise UserError(f"{target}: there is such a file; --out names another") from None
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from error
    say(make_console(), f"written to {target}; its first lines say what it is for and how to run it")


def _title(config: Path) -> str:
    return config.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ").rstrip(":")
