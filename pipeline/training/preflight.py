"""What can be refused or warned of from params, pictures and the base's configs, before any weights are loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import ParamsError
from pipeline.core.records import Subject
from pipeline.core.training_params import Train
from pipeline.diffusion import objective
from pipeline.diffusion.objective import Objective
from pipeline.families.family import Family
from pipeline.families.model_components import counter_of_cut, read_scheduler
from pipeline.families.model_folder import read_json
from pipeline.methods.method import Method
from pipeline.training.data.dataset import by_nearest_shape, sentences_of
from pipeline.training.data.latent_cache import TrainingImage

MOST_LINES = 3  # of a kind


def check(
    family: Family,
    method: Method,
    base: Path,
    train: Train,
    subject: Subject,
    pictures: Sequence[TrainingImage],
    log: Callable[[str], None],
) -> None:
    """Refuse what cannot work, and say what will not work as one might think.

    Raises
    ------
    InputError, ParamsError
        When configs are missing, params do not fit the base, or a picture is none.
    """
    method.check(family, base, train)
    check_sides(train, 2 ** (len(read_json(base, "vae/config.json")["block_out_channels"]) - 1))
    forward_process(train, read_scheduler(base))
    if method.preserves_base and train.prior.weight:
        log(f"train.prior is left out: {train.method} changes nothing of what the base knows of the class")
    if train.loss.zero_terminal_snr:
        log(
            "train.loss.zero_terminal_snr: checkpoints keep the base's scheduler, so other programs must be told "
            "rescale_betas_zero_snr=True and timestep_spacing='trailing' to draw with them"
        )
    for line in (*_few(train, pictures), *_cut(base, method.placeholder_tokens(train, subject), pictures)):
        log(line)


def forward_process(train: Train, scheduler: Mapping[str, Any]) -> Objective:
    """The base's forward process, as the params change it; ParamsError when that cannot be."""
    process = objective.from_config(scheduler)
    return process.zero_terminal_snr() if train.loss.zero_terminal_snr else process


def check_sides(train: Train, unit_px: int) -> None:
    """ParamsError unless the autoencoder, which makes one cell of so many pixels, can divide every side."""
    side_px, step_px = train.resolution_px, train.buckets.step_px
    if side_px % unit_px:
        raise ParamsError(
            f"train.resolution_px is {side_px}, but this base needs a multiple of {unit_px}; "
            f"take {_near(side_px, unit_px)}"
        )
    if train.buckets.max_aspect == 1:
        return
    if step_px % unit_px:
        raise ParamsError(
            f"train.buckets.step_px is {step_px}, but this base needs a multiple of {unit_px}; "
            f"take {_near(step_px, unit_px)}"
        )
    if side_px % step_px:
        raise ParamsError(
            f"train.resolution_px is {side_px}, which is no multiple of train.buckets.step_px {step_px}; "
            f"take {_near(side_px, step_px)}"
        )


def _near(number: int, unit: int) -> str:
    return " or ".join(str(near) for near in (number // unit * unit, (number // unit + 1) * unit) if near)


def _few(train: Train, pictures: Sequence[TrainingImage]) -> list[str]:
    """A warning for each shape with fewer pictures than the batch."""
    few = {shape: len(its) for shape, its in by_nearest_shape(train, pictures).items() if len(its) < train.batch_size}
    lines = [
        f"warning: {_counted(n)} of {width} x {height} pixels, fewer than train.batch_size {train.batch_size}: a step "
        "may show one more than once, each time with other noise; collect more, or take a smaller batch"
        for (height, width), n in few.items()
    ]
    return _first(lines, "the same is true of {} other shapes")


def _counted(n: int) -> str:
    return f"there are {n} pictures" if n > 1 else "there is 1 picture"


def _cut(base: Path, placeholder_tokens: Mapping[str, str], pictures: Sequence[TrainingImage]) -> list[str]:
    """A warning for each picture whose sentence is longer than the text encoder reads; of many the first few."""
    window = read_json(base, "text_encoder/config.json")["max_position_embeddings"]
    cut, lines = counter_of_cut(base, placeholder_tokens), []
    for picture in pictures:
        if excess := max(cut(sentence) for sentence in sentences_of(picture)):
            lines.append(
                f"warning: the caption of {picture.file_name} is longer than the {window} tokens that the text encoder "
                f"reads; its last {excess} {'are' if excess > 1 else 'is'} cut"
            )
    return _first(lines, "so are those of {} other pictures")


def _first(lines: list[str], rest: str) -> list[str]:
    """A few lines, and how many more there were."""
    more = len(lines) - MOST_LINES
    return lines if more <= 0 else [*lines[:MOST_LINES], f"warning: {rest.format(more)}"]
