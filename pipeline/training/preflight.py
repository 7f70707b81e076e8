"""Preflight checks: what params, pictures and the base's configs show to be wrong, before any weights are loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.core.training_params import Train
from pipeline.core.weight_files import read_json
from pipeline.diffusion import objective
from pipeline.diffusion.objective import Objective
from pipeline.families.model_components import counter_of_cut, read_scheduler
from pipeline.training.data.buckets import check_sides
from pipeline.training.data.dataset import by_nearest_shape, sentences_of, shapes_of
from pipeline.training.training_run import TrainingRun

MAX_WARNINGS = 3  # of a kind


def check(run: TrainingRun, log: Callable[[str], None]) -> None:
    """Refuse what cannot work, and log what will not work as one might expect.

    Raises
    ------
    InputError, ParamsError
        When configs are missing, params do not fit the base, or a picture cannot be read.
    """
    train = run.train
    run.method.check(run.family, run.base, train)
    check_sides(train, run.base)
    forward_process(train, read_scheduler(run.base))
    if run.method.preserves_base and train.prior.weight:
        log(f"train.prior is not used: {train.method} changes nothing of what the base knows of the class")
    if train.loss.zero_terminal_snr:
        log(
            "train.loss.zero_terminal_snr: checkpoints keep the base's scheduler, so other programs need "
            "rescale_betas_zero_snr=True and timestep_spacing='trailing' to draw with them"
        )
    for warning in (*_small_bucket_warnings(run), *_truncation_warnings(run)):
        log(f"warning: {warning}")


def forward_process(train: Train, scheduler: Mapping[str, Any]) -> Objective:
    """The base's forward process, as the params change it; ParamsError when that cannot be."""
    process = objective.from_config(scheduler)
    return process.zero_terminal_snr() if train.loss.zero_terminal_snr else process


def _small_bucket_warnings(run: TrainingRun) -> Iterator[str]:
    """A warning for each shape with fewer pictures than the batch."""
    counts = {shape: len(its) for shape, its in by_nearest_shape(shapes_of(run.train), run.pictures).items()}
    batch_size = run.train.batch_size
    return _limited(
        [
            f"{_counted(n)} of {width} x {height} pixels, fewer than train.batch_size {batch_size}: a step "
            "may have one more than once, each time with other noise; collect more, or take a smaller batch"
            for (height, width), n in counts.items()
            if n < batch_size
        ],
        "the same is true of {} other shapes",
    )


def _counted(n: int) -> str:
    return f"there are {n} pictures" if n > 1 else "there is 1 picture"


def _truncation_warnings(run: TrainingRun) -> Iterator[str]:
    """A warning for each picture with a sentence that is longer than the context of the text encoder."""
    context = read_json(run.base, "text_encoder/config.json")["max_position_embeddings"]
    n_cut = counter_of_cut(run.base, run.method.placeholder_tokens(run.train, run.subject))
    warnings = []
    for picture in run.pictures:
        if excess := max(n_cut(sentence) for sentence in sentences_of(picture)):
            warnings.append(
                f"the caption of {picture.file_name} is longer than the {context} tokens that the text encoder "
                f"reads; its last {excess} {'are' if excess > 1 else 'is'} cut"
            )
    return _limited(warnings, "so are those of {} other pictures")


def _limited(warnings: list[str], rest: str) -> Iterator[str]:
    """The first few, and how many more there are."""
    yield from warnings[:MAX_WARNINGS]
    if (more := len(warnings) - MAX_WARNINGS) > 0:
        yield rest.format(more)
