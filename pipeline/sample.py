"""Stage `sample`: the prompt suite drawn by the base model and by every snapshot, with the same noise in each.

Finished batches lie in `.work/sample/<species>-<fingerprint>/` under the digest of their specs, so a run that was
killed goes on where it was, and a new training finds the base model's pictures drawn.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import InputError
from pipeline.core.import_closure import code_digest
from pipeline.core.lineage import digest_bytes, digest_json
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Checkpoint, Report
from pipeline.diffusion import samplers
from pipeline.families.model_components import ModelComponents, counter_of_cut, read_scheduler
from pipeline.io.files import atomic_write, parquet
from pipeline.io.files.model_folders import model_folder, weights_digest
from pipeline.io.terminal.progress_bars import track
from pipeline.methods import load, token_embeddings
from pipeline.sampling import device, draw, plan, png_metadata
from pipeline.sampling.plan import Cell

LIBRARIES = ("diffusers", "numpy", "pillow", "torch", "transformers")
TABLE = "samples.parquet"
SPEC_COLUMNS = (
    "template",
    "prompt",
    "seed",
    "sampler",
    "steps",
    "guidance_scale",
    "negative_prompt",
    "width_px",
    "height_px",
)


def sample(params: Params, paths: Paths) -> Report:
    """Draw prompts x seeds x checkpoints; see the module.

    Raises
    ------
    ParamsError
        When the sampler or the size cannot be sampled with.
    InputError
        When a model is missing or another one than was trained from, or a picture shows nothing.
    """
    samplers.find(params.sample.sampler)
    species = params.species[paths.species]
    cells = plan.suite(params.sample, name=species.name, class_noun=species.class_noun)
    draw.check_size(cells[0].spec)
    card = atomic_write.read_card(paths.model)
    columns = _columns(card, params, paths)

    warnings = _cut_prompts(columns[-1].checkpoint, cells)
    pictures = (row for column in columns for row in column.pictures(cells, params.sample.batch_size))

    total = len(cells) * len(columns)
    with atomic_write.fresh_folder(paths.samples) as folder:
        rows = [_store(folder, *row) for row in track(pictures, f"sampling {paths.species}", total)]
        parquet.write(folder / TABLE, pd.DataFrame(rows))
        labels = [column.checkpoint.label for column in columns]
        atomic_write.write_card(
            folder,
            stage="sample",
            species=paths.species,
            lineage_id=card["lineage_id"],
            n_images=total,
            checkpoints=labels,
        )
    _forget(columns)
    return Report(
        "sample",
        (*warnings, f"{paths.species}: {total} pictures, {len(cells)} each by {', '.join(labels)}"),
        {"n_images": total},
    )


@dataclass(frozen=True)
class Column:
    """One checkpoint with where its weights are and where its finished batches wait."""

    checkpoint: Checkpoint
    origin: png_metadata.Origin
    work: Path

    def components(self) -> ModelComponents:
        """Load the weights."""
        its = self.checkpoint
        base = Path(its.base) if its.step else None
        components = load(its.method, its.family, Path(its.path), base, *device.best())
        return replace(components, scheduler=self.origin.scheduler_config)

    def pictures(self, cells: Sequence[Cell], batch_size: int) -> Iterator[tuple[Checkpoint, Cell, bytes]]:
        """Every cell's PNG, drawn now or before; the model is loaded when the first one is missing."""
        components = None
        for batch in plan.batches(cells, batch_size):
            folder = self.work / digest_json([(cell.file_name, asdict(cell.spec)) for cell in batch])[:16]
            if not folder.is_dir():
                components = components or self.components()
                self._draw(components, batch, folder)
            yield from ((self.checkpoint, cell, (folder / cell.file_name).read_bytes()) for cell in batch)

    def _draw(self, components: ModelComponents, batch: Sequence[Cell], final: Path) -> None:
        try:
            images = draw.draw(components, [cell.spec for cell in batch])
        except InputError as error:
            raise InputError(f"{self.checkpoint.label}: {error}") from error
        with atomic_write.fresh_folder(final) as folder:
            for cell, image in zip(batch, images, strict=True):
                atomic_write.write_bytes(folder / cell.file_name, png_metadata.png(image, cell.spec, self.origin))


def _columns(card: dict[str, Any], params: Params, paths: Paths) -> list[Column]:
    """The base and each snapshot of the model's card, in the order of their steps."""
    base = model_folder(paths.root, params.base.path)
    base_digest = weights_digest(base)
    if base_digest != card["base_digest"]:
        raise InputError(
            f"{paths.species} was trained from another base model than {params.base.path!r}; run its training again"
        )
    shared = {"family": card["family"], "method": card["method"], "base": str(base)}
    snapshots = sorted(card["snapshots"], key=lambda snapshot: snapshot["step"])
    checkpoints = [Checkpoint(step=0, path=str(base), **shared)] + [
        Checkpoint(step=s["step"], path=str(paths.model / s["path"]), lineage_id=card["lineage_id"], **shared)
        for s in snapshots
    ]
    # A snapshot keeps the base's scheduler, whatever it has learnt.
    zero = {"rescale_betas_zero_snr": True} if card.get("params", {}).get("loss", {}).get("zero_terminal_snr") else {}
    return [_column(each, base_digest, paths, zero if each.step else {}) for each in checkpoints]


def _column(checkpoint: Checkpoint, base_digest: str, paths: Paths, learnt: dict[str, Any]) -> Column:
    folder = Path(checkpoint.path)
    if not folder.is_dir():
        raise InputError(f"{folder} is missing, though its card names it; run the training of {paths.species} again")
    origin = png_metadata.Origin(
        species=paths.species,
        checkpoint=checkpoint.label,
        step=checkpoint.step,
        weights_digest=weights_digest(folder) if checkpoint.step else base_digest,
        lineage_id=checkpoint.lineage_id,
        scheduler_config={**read_scheduler(Path(checkpoint.base)), **learnt},
    )
    return Column(
        checkpoint, origin, paths.work / "sample" / f"{paths.species}-{_fingerprint(origin, base_digest, checkpoint)}"
    )


def _fingerprint(origin: png_metadata.Origin, base_digest: str, checkpoint: Checkpoint) -> str:
    """Of all that decides the bytes of a checkpoint's pictures, apart from their specs."""
    chosen = (f"pipeline.methods.{checkpoint.method}", f"pipeline.families.{checkpoint.family}")
    code = code_digest(["pipeline.sample", *chosen])
    libraries = {name: version(name) for name in LIBRARIES}
    where = [str(part) for part in device.best()]
    return digest_json([asdict(origin), base_digest, code, libraries, where])[:16]


def _cut_prompts(checkpoint: Checkpoint, cells: Sequence[Cell]) -> list[str]:
    """A warning for each prompt whose end the text encoder does not read; no weights are loaded."""
    cut_of = counter_of_cut(Path(checkpoint.base), token_embeddings.tokens_in(Path(checkpoint.path)))
    cut = {cell.spec.prompt: cut_of(cell.spec.prompt) for cell in cells}
    return [
        f"warning: the last {n} tokens of {prompt!r} are beyond the encoder's window and change nothing; shorten it"
        for prompt, n in cut.items()
        if n
    ]


def _store(folder: Path, checkpoint: Checkpoint, cell: Cell, content: bytes) -> dict[str, Any]:
    """Write one picture; its row of samples.parquet."""
    name = f"{checkpoint.label}/{cell.file_name}"
    atomic_write.write_bytes(folder / name, content)
    described = {"template": cell.template, **asdict(cell.spec)}
    return {
        "file_name": name,
        "checkpoint": checkpoint.label,
        "step": checkpoint.step,
        "prompt_index": cell.prompt_index,
        **{key: described[key] for key in SPEC_COLUMNS},
        "sha256": digest_bytes(content),
    }


def _forget(columns: Sequence[Column]) -> None:
    """Drop the finished batches of this species' former trainings; the present ones stay for the next run."""
    current = {column.work.name for column in columns}
    species = columns[0].origin.species
    for folder in columns[0].work.parent.glob(f"{species}-*"):
        if folder.name not in current and folder.name.rpartition("-")[0] == species:
            shutil.rmtree(folder)
