"""`latentswarm fit-gain`: fit what further samples are worth, for the stopping rule `gain`."""

from pathlib import Path

import click

from orchestrator.commands.options import PATH, examples


@click.command("fit-gain", epilog=examples("fit-gain runs/validation --into my-latent-rm"))
@click.argument("directory", metavar="RUN_DIR", type=PATH)
@click.option("--into", type=PATH, required=True, metavar="DIRECTORY", help="The LatentRM whose table it becomes.")
@click.option("--trial", metavar="NAME", help="The sampler setting to fit it to, where there are several.")
def command(directory: Path, into: Path, trial: str | None) -> None:
    """Fit what further samples are worth on a run over validation questions, for the stopping rule gain.

    The questions must be none that results are reported of, nor any that the LatentRM was trained on. The table is
    written beside the weights of the LatentRM as gain_tables.json, which changes no score and no key of a store.
    """
    from orchestrator.commands.gain_fits import fit_gain

    fit_gain(directory, into, trial)
