"""`paleo check`: all that can be known to be wrong before anything runs, without loading a model.

It runs in `paleo plan`, in every `--dry-run`, at the start of `paleo run` and of each stage. Reading params here makes
no stage depend on them: a check decides whether a result is made, never what is in it.
"""

from __future__ import annotations

import difflib
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from pipeline.core import accelerate_config, licences, prompts, registry
from pipeline.core.errors import PaleoError, ParamsError
from pipeline.core.params import SOURCES, Params
from pipeline.core.paths import Paths
from pipeline.core.records import Report
from pipeline.diffusion import samplers
from pipeline.families import check_base, family
from pipeline.io.files.atomic_write import CARD
from pipeline.io.files.model_folders import model_folder
from pipeline.methods import method
from pipeline.methods.resolution import check_pair
from pipeline.metrics import METRICS
from pipeline.sampling import prompt_grid
from pipeline.sources.licences import spdx
from pipeline.training.data.buckets import check_sides
from pipeline.training.lr_schedules import lr_schedule
from pipeline.training.optimisers import check_optimiser, optimiser
from pipeline.vision import clip_folder

OUTPUTS = ("data", "reports", "models", "samples", "site", ".work", ".dvc")
BYTES_PER_WEIGHT = {"float16": 2, "bfloat16": 2, "float32": 4}
COPIES = 2  # of every result: in its folder and in DVC's cache
NEAR = 0.8  # difflib's ratio from which on a licence is taken for a misspelt one
GIB = 2**30

Problems = Iterator[str | Callable[[], object]]  # a sentence, or what raises one as a PaleoError


def check(params: Params, paths: Paths) -> Report:
    """The command: a line on what was checked; ParamsError with every problem, one on each line."""
    if found := problems(params, paths.root):
        raise ParamsError("\n  ".join(found) if found[1:] else found[0])
    number = len(params.species)
    species = f"{number} species" if number > 1 else next(iter(params.species))
    base = f"{params.train.method} on {params.base.path} ({family(params.base.family).title})"
    return Report("check", (f"params.yaml and what it names are in order: {species}, {base}",))


def refuse(params: Params, root: Path) -> None:
    """ParamsError with the first problem, and how many more there are."""
    if found := problems(params, root):
        more = f" (and {len(found) - 1} more: `paleo check` lists them)" if found[1:] else ""
        raise ParamsError(found[0] + more)


def problems(params: Params, root: Path) -> list[str]:
    """One sentence for each thing that is wrong; none where everything can run."""
    found: dict[str, None] = {}
    for each in (_names, _licences, _sources, _sizes, _folders, _prompts, _outputs, _hardware, _disk):
        for problem in each(params, root):
            if isinstance(problem, str):
                found[problem] = None
                continue
            try:
                problem()
            except PaleoError as error:
                found[str(error).replace(f"{root}/", "")] = None
    return list(found)


def _names(params: Params, root: Path) -> Problems:
    """Of plugins and of rows of a table."""
    train, evaluate = params.train, params.evaluate
    yield lambda: family(params.base.family)
    yield lambda: check_pair(method(train.method), family(params.base.family))
    yield lambda: lr_schedule(train.lr_schedule)
    yield lambda: optimiser(train.optimiser)
    yield lambda: check_optimiser(train, method(train.method))
    yield lambda: _sampler(params.sample.sampler)
    yield lambda: registry.lookup("evaluate.primary", evaluate.primary, METRICS)
    if params.validate_.severity:
        yield lambda: _severities(params)


def _sampler(name: str) -> None:
    try:
        samplers.find(name)
    except ParamsError as error:
        raise ParamsError(f"sample.sampler: {error}") from None


def _severities(params: Params) -> None:
    from pipeline.expectations.severity import with_severity  # it imports pandas
    from pipeline.expectations.suite import Limits

    limits = Limits("x", (), min_side_px=1, max_aspect=1, phash_bits=0, dhash_bits=0, validate=params.validate_)
    with_severity(limits, params.validate_.severity)


def _licences(params: Params, root: Path) -> Problems:
    accepted = params.collect.licences
    if not accepted:
        yield "collect.licences is empty, so no picture would be kept; name some, or remove the key for the defaults"
    known = [*type(params.collect).model_fields["licences"].default, *(f"CC-BY-NC-{v}" for v in ("2.0", "3.0", "4.0"))]
    for name in accepted:
        spelled = spdx(name)
        if spelled and spelled.casefold() != name.casefold():
            yield f"collect.licences has {name!r}, which sources call {spelled!r}; write it so"
        near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=NEAR)
        if not spelled and near:
            yield f"collect.licences has {name!r}, which is no licence; did you mean {near[0]!r}?"
    for key, species in params.species.items():
        for number, source in enumerate(species.sources):
            text = str(getattr(source, "licence", "")).strip()
            if text and not licences.accepted(spdx(text) or text, accepted):
                yield (
                    f"species.{key}.sources.{number}.licence is {text!r}, which collect.licences does not accept, "
                    "so none of its pictures would be kept; correct it, or add it there"
                )


def _sources(params: Params, root: Path) -> Problems:
    """Of species that were not collected yet: later the pictures are here, whatever became of the sources."""
    known = registry.load(SOURCES)
    for key, species in params.species.items():
        paths = Paths(root, key)
        if any((folder / CARD).is_file() for folder in (paths.raw, paths.curated)):
            continue
        plugins = [(registry.plugin(known[source.kind]), source) for source in species.sources]
        for plugin, source in plugins:
            yield lambda plugin=plugin, source=source: plugin().check(source, root)  # type: ignore[misc]
        if all(plugin.wants_contact for plugin, _ in plugins) and not params.collect.contact.strip():
            kinds = ", ".join(sorted({source.kind for source in species.sources}))
            yield (
                f"collect.contact is empty, but the sources of species {key!r} ({kinds}) require it; write an e-mail "
                "or web address of yours there"
            )


def _sizes(params: Params, root: Path) -> Problems:
    yield lambda: prompt_grid.check_size(prompt_grid.sample_spec(params.sample, "", 0))
    base = root / params.base.path
    if (base / "vae/config.json").is_file():
        yield lambda: check_sides(params.train, base)


def _folders(params: Params, root: Path) -> Problems:
    """Models, whole by their headers and sizes (their digests are taken when training starts), and other folders."""
    yield lambda: check_base(model_folder(root, params.base.path), params.base.family)
    yield lambda: clip_folder.check(root / params.base.clip)
    if params.curate.captioner and not (root / params.curate.captioner / "config.json").is_file():
        yield (
            f"curate.captioner is {params.curate.captioner!r}, where there is no captioning model; correct it, or set "
            'it to "" for captions of the template'
        )
    for name, folder in params.gallery.external.items():
        if not (root / folder).is_dir():
            yield f"gallery.external has {name!r} in {folder!r}, which is no folder; correct or remove it"


def _prompts(params: Params, root: Path) -> Problems:
    """With the words of every species: a template may be right, and what comes of it empty."""
    used = {"sample.prompts": params.sample.prompts, "train.prior.prompt": (params.train.prior.prompt,)}
    for where, templates in used.items():
        for template in templates:
            if not prompts.fill_prompt(template, name="x", class_noun="x").strip():
                yield f"{where} has the empty prompt {template!r}; write what is to be drawn, or remove it"


def _outputs(params: Params, root: Path) -> Problems:
    """Every folder that results are written to, or the nearest one above it that is there."""
    folders = [root / name for name in OUTPUTS]
    folders += [path for key in params.species for path in (Paths(root, key).model, Paths(root, key).samples)]
    for folder in folders:
        present = next(path for path in (folder, *folder.parents) if path.exists() or path.is_symlink())
        shown = present.relative_to(root) if present != root else present
        if not present.is_dir():
            yield f"{str(shown)!r} is no folder, but results are written there; move it away"
        elif not os.access(present, os.W_OK | os.X_OK):
            yield f"the folder {str(shown)!r} cannot be written to; change its permissions (`chmod u+w {shown}`)"


def _hardware(params: Params, root: Path) -> Problems:
    def is_shared_evenly() -> None:
        if "WORLD_SIZE" in os.environ:  # launched already, with as many as the launcher was given
            return
        file, batch_size = accelerate_config.named_file(os.environ, root), params.train.batch_size
        if file and batch_size % (processes := accelerate_config.read(file).num_processes):
            raise ParamsError(
                f"train.batch_size is {batch_size}, which the {processes} processes of {file} cannot share evenly; "
                "change it, or num_processes there"
            )

    yield is_shared_evenly


def _disk(params: Params, root: Path) -> Problems:
    """Roughly, and for the species that have no model yet: snapshots, training states and pictures."""
    new = [key for key in params.species if not (Paths(root, key).model / CARD).is_file()]
    free, needed = shutil.disk_usage(root).free, len(new) * _bytes_of_one(params, root)
    if needed > free:
        yield (
            f"{len(new)} species would need about {needed / GIB:.1f} GiB of disk for snapshots and pictures, and "
            f"{free / GIB:.1f} GiB are free; free some, or take fewer train.snapshots or a method of small files (lora)"
        )


def _n_weights(file: Path) -> int:
    """By the file's header; 0 for one that is damaged, which another check names."""
    try:
        with safe_open(file, "np") as tensors:
            return sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    except (OSError, SafetensorError):
        return 0


def _bytes_of_one(params: Params, root: Path) -> int:
    """What one species' training and samples take at most: pictures are counted uncompressed."""
    train, sample = params.train, params.sample
    n_snapshots = len(train.snapshots)
    pictures = (n_snapshots + 1) * len(sample.prompts) * len(set(sample.seeds)) * sample.width_px * sample.height_px * 3
    try:
        whole, moments = method(train.method).saves_full_model, optimiser(train.optimiser).state_bytes
    except ParamsError:  # an unknown name, which another check reports
        whole, moments = False, 0
    n_weights = sum(map(_n_weights, (root / params.base.path).glob("*/*.safetensors"))) if whole else 0
    snapshot = n_weights * BYTES_PER_WEIGHT[train.save_dtype]
    state = n_weights * (4 + moments + (4 if train.ema_decay else 0))  # weights, the optimiser's moments, EMA
    return COPIES * (n_snapshots * snapshot + pictures) + (train.keep_states + 1) * state
