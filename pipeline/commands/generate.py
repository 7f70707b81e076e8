"""`paleo generate`: pictures for any prompt, drawn by the champion, another registered version or a snapshot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.commands.chosen_step import chosen_step
from pipeline.commands.listings import Listing
from pipeline.core.errors import InputError, ParamsError
from pipeline.core.params import Params, Sample
from pipeline.core.paths import Paths
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import SampleSpec
from pipeline.diffusion import samplers
from pipeline.families.model_components import ModelComponents, from_pure_noise, tokens_cut
from pipeline.io.files import atomic_write
from pipeline.io.files.model_folders import weights_digest
from pipeline.io.terminal.progress_bars import track
from pipeline.io.tracking import registered_models
from pipeline.methods.resolution import load
from pipeline.registry.model_config import zero_terminal_snr
from pipeline.sampling.device import best_device
from pipeline.sampling.generate import generate_images
from pipeline.sampling.png_metadata import Provenance, encode_png
from pipeline.sampling.prompt_grid import SIDE_MULTIPLE_PX, sample_spec

SLUG_LETTERS = 48
OPTIONS = {  # of the command line, for fields of Sample that are called otherwise
    "guidance_scale": "--guidance",
    "negative_prompt": "--negative-prompt",
    "width_px": "--width",
    "height_px": "--height",
}


@dataclass(frozen=True)
class DrawingModel:
    """What draws: a checkpoint with the base model that it is laid over, if any."""

    method: str
    family: str
    checkpoint: Path
    base: Path | None
    zero_terminal_snr: bool
    origin: dict[str, Any]
    """Of `png_metadata.Provenance`, without the scheduler."""
    note: str = ""
    """Why it is this one, where one would expect another."""


def generate(
    params: Params,
    paths: Paths,
    prompt: str,
    *,
    sample: Sample,
    seed: int,
    number: int,
    out: Path,
    version: int | None = None,
    step: int | None = None,
) -> Listing:
    """Draw `number` pictures with the seeds `seed`, `seed` + 1, … into `out`; a picture that is there is kept.

    `sample` is that of params.yaml with the options of the command line in their places: sampler, steps, guidance
    scale, negative prompt, width and height; its prompts and seeds are not used. The champion draws (the newest version
    where there is none), or the registered `version`, or the snapshot of models/<species> at `step`, which need not be
    registered. Where nothing is registered the chosen snapshot of models/<species> draws, and the report says so.

    Raises
    ------
    ParamsError
        When an option is invalid, or `version` and `step` are given both.
    InputError
        When there is no champion, version or step as named, its files are gone, or `out` cannot be written.
    ServiceError
        When the registry does not answer.
    """
    _check_sample(sample)
    _check_numbers(seed, number, version, step)
    text = _filled(params, paths, prompt)
    model = _model(paths, version, step)

    loaded = load(model.method, model.family, model.checkpoint, model.base, *best_device())
    components = from_pure_noise(loaded, model.zero_terminal_snr)
    origin = Provenance(**model.origin, scheduler_config=components.scheduler)
    pictures = _pictures(components, [sample_spec(sample, text, seed + n) for n in range(number)], origin)
    lines, drawn = [], []
    for spec, content in track(pictures, f"drawing {paths.species}", number):
        path, remark = _keep(out, f"{paths.species}-{slug(prompt)}-s{spec.seed:05d}", content)
        lines.append(f"{path}{remark}")
        drawn.append({"path": str(path), "prompt": text, "seed": spec.seed, **model.origin})
    cut = tokens_cut(components, text)
    warning = f"warning: the last {cut} tokens of the prompt are beyond the encoder's window; shorten it"
    remarks = [model.note] * bool(model.note) + [warning] * bool(cut)
    return Listing("generate", (*remarks, *lines), {"n_images": number}, data=drawn)


def _check_sample(sample: Sample) -> None:
    """ParamsError, with the name of the option, unless these settings can be drawn with."""
    try:
        Sample.model_validate(sample.model_dump())
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        name = str(wrong["loc"][0])
        raise ParamsError(f"{OPTIONS.get(name, f'--{name}')} is {wrong['input']!r}: {wrong['msg']}") from None
    for name in ("width_px", "height_px"):
        side, unit = getattr(sample, name), SIDE_MULTIPLE_PX
        if side % unit:
            nearest = max(unit, round(side / unit) * unit)
            raise ParamsError(f"{OPTIONS[name]} is {side}, which is no multiple of {unit}; use {nearest}")
    samplers.find(sample.sampler)


def _check_numbers(seed: int, number: int, version: int | None, step: int | None) -> None:
    if version is not None and step is not None:
        raise ParamsError("--version names a registered model and --step a snapshot; give one of them")
    for option, value, least in (("--number", number, 1), ("--seed", seed, 0)):
        if value < least:
            raise ParamsError(f"{option} is {value}; it must be at least {least}")


def _filled(params: Params, paths: Paths, prompt: str) -> str:
    """The prompt with its placeholders filled."""
    species = params.species[paths.species]
    try:
        return fill_prompt(prompt, name=species.name, class_noun=species.class_noun)
    except ValueError as error:
        raise ParamsError(str(error)) from None


def _model(paths: Paths, version: int | None, step: int | None) -> DrawingModel:
    if step is not None:
        return _snapshot(paths, step)
    if version is not None or registered_models.has_version(paths.root, paths.species) or not _is_trained(paths):
        return _registered(paths, version)
    step, reason = chosen_step(atomic_write.read_card(paths.model), paths)
    note = f"{paths.species} has no registered version, so the model in models/{paths.species} draws: {reason}"
    return replace(_snapshot(paths, step), note=note)


def _is_trained(paths: Paths) -> bool:
    return (paths.model / atomic_write.CARD).is_file()


def _registered(paths: Paths, version: int | None) -> DrawingModel:
    opened = registered_models.open_version(paths.root, paths.species, version)
    config = opened.config
    return DrawingModel(
        config["method"],
        config["family"],
        opened.checkpoint,
        opened.base,
        config.get("zero_terminal_snr", False),
        config["origin"],
        opened.note if version is None else "",
    )


def _snapshot(paths: Paths, step: int) -> DrawingModel:
    """A snapshot of models/<species>; InputError names the steps that there are."""
    if not _is_trained(paths):
        raise InputError(f"{paths.species} has no trained model yet; run `paleo train {paths.species}` first")
    card = atomic_write.read_card(paths.model)
    folders = {each["step"]: paths.model / each["path"] for each in card["snapshots"]}
    if step not in folders:
        raise InputError(f"{paths.species} has no step {step}; there are {', '.join(map(str, sorted(folders)))}")
    folder = folders[step]
    if not folder.is_dir():
        raise InputError(f"{folder} is missing, though its card names it; run the training of {paths.species} again")
    config = {**card, "needs_base": not (folder / "model_index.json").is_file()}
    origin = {
        "species": paths.species,
        "checkpoint": folder.name,
        "step": step,
        "lineage_id": card["lineage_id"],
        "weights_digest": weights_digest(folder),
    }
    base = registered_models.base_folder(None, config, paths.root)
    return DrawingModel(card["method"], card["family"], folder, base, zero_terminal_snr(card), origin)


def _pictures(
    components: ModelComponents, specs: Sequence[SampleSpec], origin: Provenance
) -> Iterator[tuple[SampleSpec, bytes]]:
    """One at a time: in the last bit a picture depends on its batch, and `-n 4` shall give the same files as `-n 1`."""
    for spec in specs:
        yield spec, encode_png(generate_images(components, [spec])[0], spec, origin)


def _keep(folder: Path, stem: str, content: bytes) -> tuple[Path, str]:
    """Write a picture beside those that are there; its path, and a remark where that is not the plain one."""
    path, count = folder / f"{stem}.png", 1
    while path.exists() and path.read_bytes() != content:
        count += 1
        path = folder / f"{stem}-{count}.png"
    if path.exists():
        return path, " (is there already, the same)"
    try:
        atomic_write.write_bytes(path, content)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another --out") from error
    return path, "" if count == 1 else " (another picture has the plain name)"


def slug(prompt: str) -> str:
    """A prompt as part of a file's name: `{name} at sea` -> `name-at-sea`."""
    return re.sub(r"[\W_]+", "-", prompt.lower())[:SLUG_LETTERS].strip("-") or "picture"
