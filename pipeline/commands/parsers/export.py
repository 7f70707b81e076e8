"""`paleo export SPECIES --format FORMAT`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands import project
from pipeline.commands.parsers.shared import species_argument
from pipeline.core.command_line import Command, debug_option

if TYPE_CHECKING:
    from pipeline.core.records import Report

EXAMPLES = """
One checkpoint, for ComfyUI and AUTOMATIC1111:
  paleo export sinomacrops --format single-file
A LoRA, LoKr, LoHa or learnt token embeddings, for both:
  paleo export sinomacrops --format kohya
  paleo export sinomacrops --format kohya --step 250 --dtype float32
A folder, or a file that diffusers loads:
  paleo export sinomacrops --format diffusers
"""


@click.command(cls=Command, examples=EXAMPLES)
@species_argument
@click.option(
    "--format",
    required=True,
    help="kohya (adapters, token embeddings), diffusers, or single-file (a whole checkpoint).",
)
@click.option(
    "--step", type=int, metavar="N", help="Training step.  [default: the one that evaluation chose, else the last]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="File or folder; a single file has no model card then.  [default: a folder in exports/FORMAT/]",
)
@click.option("--dtype", help="float16, float32 or bfloat16.  [default: train.save_dtype of the training]")
@click.option("--dry-run", is_flag=True, help="Print what would be written and write nothing.")
@debug_option
def export(species: str, format: str, step: int | None, out: Path | None, dtype: str | None, dry_run: bool) -> Report:
    """Write a model for ComfyUI, AUTOMATIC1111 or diffusers.

    One step of the training is exported, with a model card in Hugging Face's conventions; how to load it is printed.
    """
    params, paths = project.open_project(species)
    if dry_run:
        project.refuse_problems(params, paths)
    from pipeline.commands import export as command

    return command.export(params, paths, format=format, step=step, out=out, dtype=dtype, dry_run=dry_run)
