"""`paleo generate SPECIES PROMPT`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import project
from pipeline.commands.parsers.shared import dry_run_option, species_argument
from pipeline.core.command_line import Command, debug_option, json_option

if TYPE_CHECKING:
    from pipeline.core.records import Report

EXAMPLES = """
paleo generate sinomacrops "{name} flying over the sea" --seed 7 -n 4
paleo generate sinomacrops "{name} at sunset" --negative-prompt "text, frame"
paleo generate sinomacrops "{name}" --version 3 --step 250 --width 96
"""


@click.command(cls=Command, examples=EXAMPLES)
@species_argument
@click.argument("prompt", help="What to draw; {name} and {class_noun} are filled in.")
@click.option("--seed", type=int, metavar="N", default=1, show_default=True, help="Seed of the first picture.")
@click.option(
    "-n", "--number", type=int, metavar="N", default=1, show_default=True, help="Pictures, with seeds N, N+1, …"
)
@click.option(
    "--negative-prompt", metavar="T", help="What the pictures must not show.  [default: sample.negative_prompt]"
)
@click.option("--steps", type=int, metavar="N", help="Sampler steps.  [default: sample.steps]")
@click.option(
    "--guidance", "guidance_scale", type=float, metavar="X", help="Guidance scale.  [default: sample.guidance_scale]"
)
@click.option("--sampler", metavar="S", help="Sampler, such as DDIM.  [default: sample.sampler]")
@click.option("--width", "width_px", type=int, metavar="PX", help="Width of a picture.  [default: sample.width_px]")
@click.option("--height", "height_px", type=int, metavar="PX", help="Height of a picture.  [default: sample.height_px]")
@click.option("--version", type=int, metavar="N", help="Registered version.  [default: the champion, else the newest]")
@click.option("--step", type=int, metavar="N", help="Training step of the checkpoint.  [default: the registered one]")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", default="generated", show_default=True, help="Folder."
)
@dry_run_option
@json_option
@debug_option
def generate(
    species: str,
    prompt: str,
    seed: int,
    number: int,
    version: int | None,
    step: int | None,
    out: Path,
    dry_run: bool,
    **sample_options: Any,
) -> Report:
    """Draw pictures of a prompt with the champion or another version.

    Where nothing is registered, the model in models/SPECIES draws. Options that are not given take the values of the
    section `sample` of params.yaml.
    """
    params, paths = project.open_project(species)
    given = {key: value for key, value in sample_options.items() if value is not None}
    sample = params.sample.model_copy(update=given)
    if dry_run:
        return project.dry_run("generate", params.model_copy(update={"sample": sample}), paths, section="sample")
    from pipeline.commands.generate import generate as draw

    return draw(params, paths, prompt, sample=sample, seed=seed, number=number, out=out, version=version, step=step)
