"""`paleo pretrain --out DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.core.command_line import Command, debug_option

if TYPE_CHECKING:
    from pipeline.core.records import Report

EXAMPLES = """
paleo pretrain --out base_models/tiny                 hours on two cores
paleo pretrain --out base_models/tiny --scale 0.01    a quick trial
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", required=True, help="Folder of the finished model."
)
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default=".work/pretrain",
    show_default=True,
    help="Folder of the resumable state and the page.",
)
@click.option(
    "--scale", type=float, metavar="X", default=1.0, show_default=True, help="Share of the full number of steps."
)
@click.option("--seed", type=int, metavar="N", default=0, show_default=True, help="Seed of drawings and training.")
@click.option("--dry-run", is_flag=True, help="Print the settings and do nothing.")
@debug_option
def pretrain(out: Path, work: Path, scale: float, seed: int, dry_run: bool) -> Report:
    """Train the embedded base model on drawings of a synthetic world.

    It consists of an autoencoder, a CLIP and a denoiser.
    """
    from pipeline.commands import pretrain as command

    if dry_run:
        return command.dry_run(scale, seed)
    return command.pretrain(out, work=work, scale=scale, seed=seed)
