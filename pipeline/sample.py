"""Stage `sample`: the prompt grid, sampled from the base model and from every snapshot, with the same noise in each.

Finished batches lie in `.work/sample/<species>-<fingerprint>/` under the digest of their specs, so a run that was
killed goes on where it was, and a new training finds the base model's pictures there.
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
from pipeline.families import family
from pipeline.families.model_components import ModelComponents, counter_of_cut, read_scheduler
from pipeline.io.files import atomic_write, parquet
from pipeline.io.files.model_folders import model_folder, weights_digest
from pipeline.io.terminal.progress_bars import track
from pipeline.methods import method, token_embeddings
from pipeline.methods.resolution import load
from pipeline.sampling import prompt_grid
from pipeline.sampling.device import best_device
from pipeline.sampling.generate import generate_images
from pipeline.sampling.png_metadata import Provenance, encode_png
from pipeline.sampling.prompt_grid import GridCell

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
    """Sample prompts x seeds x checkpoints; see the module.

    Raises
    ------
    ParamsError
        When the sampler or the size cannot be sampled with.
    InputError
        When a model is missing or another one than was trained from, or a picture shows nothing.
    """
    samplers.find(params.sample.sampler)
    species = params.species[paths.species]
    cells = prompt_grid.prompt_grid(params.sample, name=species.name, class_noun=species.class_noun)
    prompt_grid.check_size(cells[0].spec)
    card = atomic_write.read_card(paths.model)
    checkpoints = _checkpoints(card, params, paths)

    warnings = _truncation_warnings(checkpoints[-1].checkpoint, cells)
    pictures = (row for each in checkpoints for row in each.pictures(cells, params.sample.batch_size))

    total = len(cells) * len(checkpoints)
    with atomic_write.fresh_folder(paths.samples) as folder:
        rows = [_write_picture(folder, *row) for row in track(pictures, f"sampling {paths.species}", total)]
        parquet.write(folder / TABLE, pd.DataFrame(rows))
        labels = [each.checkpoint.label for each in checkpoints]
        atomic_write.write_card(
            folder,
            stage="sample",
            species=paths.species,
            lineage_id=card["lineage_id"],
            n_images=total,
            checkpoints=labels,
        )
    _remove_batches_of_former_trainings(checkpoints, paths.species)
    return Report(
        "sample",
        (*warnings, f"{paths.species}: {total} pictures, {len(cells)} each by {', '.join(labels)}"),
        {"n_images": total},
    )


@dataclass(frozen=True)
class SampledCheckpoint:
    """One checkpoint to sample from, and the folder of its finished batches."""

    checkpoint: Checkpoint
    provenance: Provenance
    work: Path

    def load(self) -> ModelComponents:
        """Load the weights."""
        checkpoint = self.checkpoint
        base = Path(checkpoint.base) if checkpoint.step else None
        components = load(checkpoint.method, checkpoint.family, Path(checkpoint.path), base, *best_device())
        return replace(components, scheduler=self.provenance.scheduler_config)

    def pictures(self, cells: Sequence[GridCell], batch_size: int) -> Iterator[tuple[Checkpoint, GridCell, bytes]]:
        """Every cell's PNG, new or from a finished batch; the model is loaded when the first one is missing."""
        components = None
        for batch in prompt_grid.batches(cells, batch_size):
            folder = self.work / digest_json([(cell.file_name, asdict(cell.spec)) for cell in batch])[:16]
            if not folder.is_dir():
                components = components or self.load()
                self._sample_batch(components, batch, folder)
            yield from ((self.checkpoint, cell, (folder / cell.file_name).read_bytes()) for cell in batch)

    def _sample_batch(self, components: ModelComponents, batch: Sequence[GridCell], final: Path) -> None:
        try:
            images = generate_images(components, [cell.spec for cell in batch])
        except InputError as error:
            raise InputError(f"{self.checkpoint.label}: {error}") from error
        with atomic_write.fresh_folder(final) as folder:
            for cell, image in zip(batch, images, strict=True):
                atomic_write.write_bytes(folder / cell.file_name, encode_png(image, cell.spec, self.provenance))


def _checkpoints(card: dict[str, Any], params: Params, paths: Paths) -> list[SampledCheckpoint]:
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
    return [_sampled_checkpoint(each, base_digest, paths, zero if each.step else {}) for each in checkpoints]


def _sampled_checkpoint(
    checkpoint: Checkpoint, base_digest: str, paths: Paths, learnt: dict[str, Any]
) -> SampledCheckpoint:
    """`learnt`: what its weights need of the scheduler beyond the base's own config."""
    folder = Path(checkpoint.path)
    if not folder.is_dir():
        raise InputError(f"{folder} is missing, though its card names it; run the training of {paths.species} again")
    provenance = Provenance(
        species=paths.species,
        checkpoint=checkpoint.label,
        step=checkpoint.step,
        weights_digest=weights_digest(folder) if checkpoint.step else base_digest,
        lineage_id=checkpoint.lineage_id,
        scheduler_config={**read_scheduler(Path(checkpoint.base)), **learnt},
    )
    fingerprint = _fingerprint(provenance, base_digest, checkpoint)
    return SampledCheckpoint(checkpoint, provenance, paths.work / "sample" / f"{paths.species}-{fingerprint}")


def _fingerprint(provenance: Provenance, base_digest: str, checkpoint: Checkpoint) -> str:
    """Of all that decides the bytes of a checkpoint's pictures, apart from their specs."""
    plugins = [type(each).__module__ for each in (method(checkpoint.method), family(checkpoint.family))]
    code = code_digest(["pipeline.sample", *plugins])
    libraries = {name: version(name) for name in LIBRARIES}
    device = [str(each) for each in best_device()]
    return digest_json([asdict(provenance), base_digest, code, libraries, device])[:16]


def _truncation_warnings(checkpoint: Checkpoint, cells: Sequence[GridCell]) -> list[str]:
    """A warning for each prompt whose end the text encoder does not read; no weights are loaded."""
    tokens_cut = counter_of_cut(Path(checkpoint.base), token_embeddings.tokens_in(Path(checkpoint.path)))
    cut = {cell.spec.prompt: tokens_cut(cell.spec.prompt) for cell in cells}
    return [
        f"warning: the last {n} tokens of {prompt!r} are beyond the encoder's window and change nothing; shorten it"
        for prompt, n in cut.items()
        if n
    ]


def _write_picture(folder: Path, checkpoint: Checkpoint, cell: GridCell, content: bytes) -> dict[str, Any]:
    """Write one picture; its row of samples.parquet."""
    name = f"{checkpoint.label}/{cell.file_name}"
    atomic_write.write_bytes(folder / name, content)
    columns = {"template": cell.template, **asdict(cell.spec)}
    return {
        "file_name": name,
        "checkpoint": checkpoint.label,
        "step": checkpoint.step,
        "prompt_index": cell.prompt_index,
        **{key: columns[key] for key in SPEC_COLUMNS},
        "sha256": digest_bytes(content),
    }


def _remove_batches_of_former_trainings(checkpoints: Sequence[SampledCheckpoint], species: str) -> None:
    """Drop what this species' former trainings left in the work folder; the present batches stay for the next run."""
    current = {each.work.name for each in checkpoints}
    for folder in checkpoints[0].work.parent.glob(f"{species}-*"):
        if folder.name not in current and folder.name.rpartition("-")[0] == species:
            shutil.rmtree(folder)
