"""`paleo export`: one step of a trained model as a file that ComfyUI, AUTOMATIC1111 or diffusers loads.

The same model gives the same bytes. What lies where a file would go is left alone, unless it is the same.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.core.errors import InputError
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Report
from pipeline.core.registry import lookup
from pipeline.exporting import (
    artefacts,
    file_metadata,
    kohya_adapters,
    kohya_embeddings,
    ldm_checkpoint,
    load_instructions,
)
from pipeline.exporting.file_metadata import ExportedModel
from pipeline.exporting.ldm_config import ldm_config
from pipeline.exporting.merge_adapters import merged
from pipeline.families import family
from pipeline.families.family import Family
from pipeline.families.model_components import ModelComponents, read_scheduler
from pipeline.io.files import atomic_write, export_files
from pipeline.io.files.model_folders import weights_digest
from pipeline.methods import base_compatibility, full_fine_tune, lora_file, method, placeholder_tokens
from pipeline.methods.method import Artefact, Method
from pipeline.methods.tensor_files import write_tensors
from pipeline.methods.trainable import Trainable

DTYPES = {"float16": torch.float16, "float32": torch.float32, "bfloat16": torch.bfloat16}
METADATA = ("lineage_id", "species", "trigger", "method", "family", "base_digest", "dataset_digest", "licences_digest")
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class ExportJob:
    """One export: the folders of the snapshot and of its base, and the dtype of the exported weights."""

    card: Mapping[str, Any]
    family: Family
    method: Method
    model: ExportedModel
    snapshot: Path
    base: Path
    dtype: torch.dtype


def export(
    params: Params,
    paths: Paths,
    *,
    format: str,
    step: int | None = None,
    out: Path | None = None,
    dtype: str | None = None,
    dry_run: bool = False,
) -> Report:
    """Write one step of models/<species> in a format of `pipeline.exporting`; the report says how to load it.

    Raises
    ------
    InputError
        When there is no trained model or no such step, the format does not fit the method, the base that it needs is
        gone or another one, or the files cannot be written where they would go.
    """
    if not (paths.model / atomic_write.CARD).is_file():
        raise InputError(f"{paths.species} has no trained model yet; run `paleo train {paths.species}` first")
    card = atomic_write.read_card(paths.model)
    kinds = artefacts(method(card["method"]), format)
    step, reason = _choose_step(card, paths, step)
    folder, names = _targets(card, paths, format, kinds, step, out)
    job = _job(card, paths, step, dtype, Path(names[-1]).stem if format == "kohya" else "")
    shown_at = folder.relative_to(paths.root) if folder.is_relative_to(paths.root) else folder
    summary = f"  {card['method']} in the format {format}, {str(job.dtype).removeprefix('torch.')}; {reason}"
    if dry_run:
        return Report("export", (*(str(shown_at / name) for name in names), summary, "dry run: export did nothing"))
    with export_files.building(folder) as building:
        instructions = _write_all(job, format, kinds, building, shown_at, names)
        written = export_files.settle(building, folder, shown_at)
    trigger = f"  trigger words: {job.model.trigger}"
    return Report("export", (*written, summary, trigger, *dict.fromkeys(instructions)))


def _choose_step(card: Mapping[str, Any], paths: Paths, requested: int | None) -> tuple[int, str]:
    """The step to export and, in words, why this one."""
    steps = [snapshot["step"] for snapshot in card["snapshots"]]
    if requested is not None:
        if requested not in steps:
            raise InputError(f"{paths.species} has no step {requested}; there are {', '.join(map(str, steps))}")
        return requested, f"step {requested}, which was asked for"
    chosen = _evaluated_step(card, paths)
    if chosen is not None and chosen in steps:
        return chosen, f"step {chosen}, which the evaluation chose"
    return steps[-1], f"step {steps[-1]}, the last one, since this model is not evaluated"


def _evaluated_step(card: Mapping[str, Any], paths: Paths) -> int | None:
    """The step that the evaluation chose; None when there is none, or it is of another training."""
    metrics, details = paths.evaluation / "metrics.json", paths.evaluation / "details"
    if not metrics.is_file():
        return None
    if (details / atomic_write.CARD).is_file() and atomic_write.read_card(details)["lineage_id"] != card["lineage_id"]:
        return None
    step: int = atomic_write.read_json(metrics, {"chosen_step": int})["chosen_step"]
    return step


def _targets(
    card: Mapping[str, Any], paths: Paths, format: str, kinds: tuple[Artefact, ...], step: int, out: Path | None
) -> tuple[Path, tuple[str, ...]]:
    """The folder that the export goes into, and the names in it; kohya's embeddings have the species' name."""
    home, stem = paths.root / "exports" / format, f"{paths.species}-{card['method']}-step-{step:06d}"
    embeddings = f"{paths.species}{SUFFIX}"
    if format == "kohya" and len(kinds) > 1:
        return out or home / stem, (f"{stem}{SUFFIX}", embeddings)
    if format == "diffusers" and (len(kinds) > 1 or kinds == ("folder",)):
        final = out or home / stem
        return final.parent, (final.name,)
    only_embeddings = format == "kohya" and kinds == ("embeddings",)
    folder, name = (home / stem, embeddings) if only_embeddings else (home, f"{stem}{SUFFIX}")
    if out is None or out.is_dir():
        return out or folder, (name,)
    if out.suffix != SUFFIX:
        raise InputError(f"--out is {str(out)!r}, which is no folder; make it, or name a file that ends in {SUFFIX}")
    return out.parent, (out.name,)


def _job(card: Mapping[str, Any], paths: Paths, step: int, dtype: str | None, embedding: str) -> ExportJob:
    """`embedding`: what prompts call exported embeddings by, where the format names them by their file."""
    snapshot = paths.model / next(s["path"] for s in card["snapshots"] if s["step"] == step)
    if not snapshot.is_dir():
        raise InputError(f"{snapshot} is missing, though its card names it; run the training of {paths.species} again")
    chosen, base = method(card["method"]), paths.root / card["base"]
    precision = lookup("--dtype", dtype or card["params"]["save_dtype"], DTYPES, error=InputError)
    model = _exported_model(card, paths, step, snapshot if chosen.saves_full_model else base, embedding)
    return ExportJob(card, model.family, chosen, model, snapshot, base, precision)


def _exported_model(card: Mapping[str, Any], paths: Paths, step: int, folder: Path, embedding: str) -> ExportedModel:
    """`folder` has, or had, a full model of the same kind."""
    base, its_family, chosen = Path(card["base"]), family(card["family"]), method(card["method"])
    metadata = {key: str(card[key]) for key in METADATA if key in card}
    readable = (folder / "unet" / "config.json").is_file() and (folder / "scheduler").is_dir()
    version = its_family.kohya_version(atomic_write.read_json(folder / "unet" / "config.json")) if readable else None
    prediction = read_scheduler(folder).get("prediction_type", "epsilon") if readable else ""
    return ExportedModel(
        metadata={**metadata, "base": base.name if base.is_absolute() else base.as_posix(), "step": str(step)},
        family=its_family,
        title=f"{paths.species}-{card['method']}-step-{step:06d}",
        trigger=embedding if embedding and "embeddings" in chosen.formats.get("kohya", ()) else card["trigger"],
        version=version,
        architecture=its_family.architecture(version, prediction) if version else "",
        prediction=prediction,
        params=card["params"],
    )


def _write_all(
    job: ExportJob, format: str, kinds: tuple[Artefact, ...], building: Path, folder: Path, names: tuple[str, ...]
) -> list[str]:
    """Write every artefact of an export below `building`; returns how to load it from `folder`."""
    if format == "diffusers" and len(kinds) > 1:  # a folder with the snapshot's files
        inner, shown = building / names[0], folder / names[0]
        inner.mkdir()
        lines = _write_diffusers_embeddings(job, inner, shown, placeholder_tokens.FILE)
        return [*lines, *_write_diffusers_adapters(job, inner, shown, lora_file.FILE)]
    instructions = (WRITERS[format, kind](job, building, folder, name) for kind, name in zip(kinds, names, strict=True))
    return [line for lines in instructions for line in lines]


def _write_kohya_adapters(job: ExportJob, building: Path, folder: Path, name: str) -> list[str]:
    adapters = job.method.adapters(job.snapshot)
    tensors = kohya_adapters.to_kohya(adapters.tensors, adapters.configs, job.family.adapter_prefixes)
    alphas = [tensor.item() for key, tensor in tensors.items() if key.endswith(".alpha")]
    rank = max(config["r"] for config in adapters.configs.values())
    metadata = file_metadata.metadata(job.model, "adapters")
    metadata |= file_metadata.kohya_metadata(job.model, job.method.kohya_network, rank, max(alphas))
    _write_file(building / name, tensors, metadata, job.dtype)
    return load_instructions.adapters(Path(name).stem, job.model)


def _write_kohya_embeddings(job: ExportJob, building: Path, folder: Path, name: str) -> list[str]:
    _, tensors = base_compatibility.read(job.snapshot / placeholder_tokens.FILE, tensors=True)
    metadata = file_metadata.metadata(job.model, "embeddings")
    _write_file(building / name, kohya_embeddings.to_kohya(tensors), metadata, job.dtype)
    return load_instructions.embeddings(Path(name).stem, job.model)


def _write_diffusers_adapters(job: ExportJob, building: Path, folder: Path, name: str) -> list[str]:
    stored, tensors = base_compatibility.read(job.snapshot / lora_file.FILE, tensors=True)
    metadata = {lora_file.HEADER: stored[lora_file.HEADER], **file_metadata.metadata(job.model, "adapters")}
    _write_file(building / name, tensors, metadata, job.dtype)
    return load_instructions.adapters_in_diffusers(folder, name, job.model)


def _write_diffusers_embeddings(job: ExportJob, building: Path, folder: Path, name: str) -> list[str]:
    stored, tensors = base_compatibility.read(job.snapshot / placeholder_tokens.FILE, tensors=True)
    metadata = {**file_metadata.metadata(job.model, "embeddings"), "name": stored["name"]}
    _write_file(building / name, tensors, metadata, job.dtype)
    return load_instructions.embeddings_in_diffusers(folder / name, job.model)


def _write_folder(job: ExportJob, building: Path, folder: Path, name: str) -> list[str]:
    """A full model. A snapshot that is one is copied; in another dtype only its UNet and text encoders change.

    The scheduler and all else are the base's, byte for byte.
    """
    if job.method.saves_full_model and job.dtype == DTYPES[job.card["params"]["save_dtype"]]:
        shutil.copytree(job.snapshot, building / name)
        return load_instructions.folder_in_diffusers(folder / name)
    components = _full_model(job)
    metadata = file_metadata.metadata(job.model, "checkpoint")
    del metadata[file_metadata.HASH_KEY]  # of one file, and this is several
    full_fine_tune.save(Trainable(components, components.by_folder), building / name, job.dtype, metadata)
    return load_instructions.folder_in_diffusers(folder / name)


def _write_single_file(job: ExportJob, building: Path, folder: Path, name: str) -> list[str]:
    components, model = _full_model(job), job.model
    encoders = [(encoder.state_dict(), encoder.config.to_dict()) for encoder in components.text_encoders]
    tensors = ldm_checkpoint.to_ldm(components.unet.state_dict(), components.vae.state_dict(), encoders)
    zero_snr = bool(
        components.scheduler.get("rescale_betas_zero_snr") or job.card["params"]["loss"]["zero_terminal_snr"]
    )
    tensors |= job.family.checkpoint_markers(model.prediction, zero_snr)
    _write_file(building / name, tensors, file_metadata.metadata(model, "checkpoint"), job.dtype)
    sidecar = ""
    if model.prediction == "v_prediction" and job.family.has_sampling_config:
        sidecar = f"{name.removesuffix(SUFFIX)}.yaml"
        openclip = ldm_checkpoint.is_openclip(encoders[0][1])
        unet: Any = components.unet
        config = ldm_config(unet.config, components.vae.config, components.scheduler, openclip=openclip)
        atomic_write.write_text(building / sidecar, json.dumps(config, indent=2) + "\n")
    return load_instructions.checkpoint(model, zero_snr, sidecar)


def _full_model(job: ExportJob) -> ModelComponents:
    """The model of the snapshot in full precision, adapters merged."""
    if job.method.saves_full_model:
        return job.family.load(job.snapshot, "cpu", torch.float32)
    name, kohya = job.card["base"], "--format kohya needs none"
    if not job.base.is_dir():
        raise InputError(f"the adapters are merged into the base model {name!r}, which is not there; {kohya}")
    if weights_digest(job.base) != job.card["base_digest"]:
        raise InputError(f"{name!r} is not the base model that the adapters were trained on; {kohya}")
    return merged(job.method.restore(job.family.load(job.base, "cpu", torch.float32), job.snapshot))


def _write_file(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], dtype: torch.dtype
) -> None:
    """Everything in one dtype but alphas, which are exact only as they are."""
    cast = {name: tensor if name.endswith(".alpha") else tensor.to(dtype) for name, tensor in tensors.items()}
    write_tensors(path, cast, metadata)
    export_files.fill_hash(path, file_metadata.NO_HASH)


Writer = Callable[[ExportJob, Path, Path, str], list[str]]  # job, built in, final folder, name -> how to load it
WRITERS: dict[tuple[str, Artefact], Writer] = {
    ("kohya", "adapters"): _write_kohya_adapters,
    ("kohya", "embeddings"): _write_kohya_embeddings,
    ("diffusers", "adapters"): _write_diffusers_adapters,
    ("diffusers", "embeddings"): _write_diffusers_embeddings,
    ("diffusers", "folder"): _write_folder,
    ("single-file", "checkpoint"): _write_single_file,
}
