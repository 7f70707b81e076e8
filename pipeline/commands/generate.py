"""`paleo generate`: pictures for any prompt, drawn by the champion of a species."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from pipeline.core.errors import InputError, ParamsError
from pipeline.core.params import Params, Sample
from pipeline.core.paths import Paths
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import Report
from pipeline.diffusion import samplers
from pipeline.families.model_components import ModelComponents, from_pure_noise, tokens_cut
from pipeline.io.files import atomic_write
from pipeline.io.terminal.progress_bars import track
from pipeline.io.tracking import mlflow_registry
from pipeline.methods import load
from pipeline.sampling.device import best_device
from pipeline.sampling.generate import generate_images
from pipeline.sampling.png_metadata import Provenance, encode_png
from pipeline.sampling.prompt_grid import sample_spec

SLUG_LETTERS = 48


def generate(params: Params, paths: Paths, prompt: str, *, sample: Sample, seed: int, number: int, out: Path) -> Report:
    """Draw `number` pictures with the seeds `seed`, `seed` + 1, … into `out`; a picture that is there is kept.

    Raises
    ------
    ParamsError
        When an option cannot be meant.
    InputError
        When there is no champion, its files are gone, or `out` cannot be written.
    ServiceError
        When the registry does not answer.
    """
    text = _check(params, paths, prompt, sample, seed, number)
    champion = mlflow_registry.champion(paths.root, paths.species)
    laid = load(champion.method, champion.family, champion.folder, champion.base_folder, *best_device())
    parts = from_pure_noise(laid, champion.config.get("zero_terminal_snr", False))
    origin = Provenance(**champion.config["origin"], scheduler_config=parts.scheduler)

    pictures = _pictures(parts, [sample_spec(sample, text, seed + n) for n in range(number)], origin)
    lines = [
        _keep(out, f"{paths.species}-{slug(prompt)}-s{spec.seed:05d}", content)
        for spec, content in track(pictures, f"drawing {paths.species}", number)
    ]
    return Report("generate", (*_warning(tokens_cut(parts, text)), *lines), {"n_images": number})


def _check(params: Params, paths: Paths, prompt: str, sample: Sample, seed: int, number: int) -> str:
    """Refuse what cannot be drawn before anything is loaded; returns the prompt with its placeholders filled."""
    for option, value, least in (("--number", number, 1), ("--seed", seed, 0)):
        if value < least:
            raise ParamsError(f"{option} is {value}; it must be at least {least}")
    try:
        Sample.model_validate(sample.model_dump())
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        raise ParamsError(f"--{wrong['loc'][0]} is {wrong['input']!r}: {wrong['msg']}") from None
    samplers.find(sample.sampler)
    species = params.species[paths.species]
    try:
        return fill_prompt(prompt, name=species.name, class_noun=species.class_noun)
    except ValueError as error:
        raise ParamsError(str(error)) from None


def _pictures(parts: ModelComponents, specs: list, origin: Provenance) -> Iterator[tuple]:
    """One at a time: in the last bit a picture depends on its batch, and `-n 4` shall give the same files as `-n 1`."""
    for spec in specs:
        yield spec, encode_png(generate_images(parts, [spec])[0], spec, origin)


def _warning(cut: int) -> tuple[str, ...]:
    return (f"warning: the last {cut} tokens of the prompt are beyond the encoder's window; shorten it",) if cut else ()


def _keep(folder: Path, stem: str, content: bytes) -> str:
    """Write a picture beside those that are there; the line that is printed."""
    path, count = folder / f"{stem}.png", 1
    while path.exists() and path.read_bytes() != content:
        count += 1
        path = folder / f"{stem}-{count}.png"
    if path.exists():
        return f"{path} (is there already, the same)"
    try:
        atomic_write.write_bytes(path, content)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another --out") from error
    return str(path) if count == 1 else f"{path} (another picture has the plain name)"


def slug(prompt: str) -> str:
    """A prompt as part of a file's name: `{name} at sea` -> `name-at-sea`."""
    return re.sub(r"[\W_]+", "-", prompt.lower())[:SLUG_LETTERS].strip("-") or "picture"
