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
from pipeline.exporting import adapters, artefacts, checkpoint, embeddings, guide, headers, ldm_config
from pipeline.exporting.headers import ExportedModel
from pipeline.exporting.merging import merged
from pipeline.families import family
from pipeline.families.family import Family
from pipeline.families.model_components import ModelComponents, read_scheduler
from pipeline.io.files import atomic_write, export_files
from pipeline.io.files.model_folders import weights_digest
from pipeline.methods import base_compatibility, full_fine_tune, lora_file, method, placeholder_tokens
from pipeline.methods.method import Method
from pipeline.methods.tensor_files import write_tensors
from pipeline.methods.trainable import Trainable

DTYPES = {"float16": torch.float16, "float32": torch.float32, "bfloat16": torch.bfloat16}
METADATA = ("lineage_id", "species", "trigger", "method", "family", "base_digest", "dataset_digest", "licences_digest")
ENDING = ".safetensors"


@dataclass(frozen=True)
class Export:
    """What is exported: `source` is the snapshot's folder, `base` its base's, `dtype` that of the exported weights."""

    card: Mapping[str, Any]
    family: Family
    method: Method
    model: ExportedModel
    source: Path
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
    step, why = _step(card, paths, step)
    folder, names = _place(card, paths, format, kinds, step, out)
    made = _made(card, paths, step, dtype, Path(names[-1]).stem if format == "kohya" else "")
    shown_at = folder.relative_to(paths.root) if folder.is_relative_to(paths.root) else folder
    summary = f"  {card['method']} in the format {format}, {str(made.dtype).removeprefix('torch.')}; {why}"
    if dry_run:
        return Report("export", (*(str(shown_at / name) for name in names), summary, "dry run: export did nothing"))
    with export_files.building(folder) as building:
        lines = _write_all(made, format, kinds, building, shown_at, names)
        moved = export_files.settle(building, folder, shown_at)
    return Report("export", (*moved, summary, f"  trigger words: {made.model.trigger}", *dict.fromkeys(lines)))


def _step(card: Mapping[str, Any], paths: Paths, asked: int | None) -> tuple[int, str]:
    """The step to export and, in words, why this one."""
    steps = [snapshot["step"] for snapshot in card["snapshots"]]
    if asked is not None:
        if asked not in steps:
            raise InputError(f"{paths.species} has no step {asked}; there are {', '.join(map(str, steps))}")
        return asked, f"step {asked}, which was asked for"
    chosen = _chosen(card, paths)
    if chosen in steps:
        return chosen, f"step {chosen}, which the evaluation chose"
    return steps[-1], f"step {steps[-1]}, the last one, since this model is not evaluated"


def _chosen(card: Mapping[str, Any], paths: Paths) -> int | None:
    """The step that the evaluation chose; None when there is none, or it is of another training."""
    metrics, details = paths.evaluation / "metrics.json", paths.evaluation / "details"
    if not metrics.is_file():
        return None
    if (details / atomic_write.CARD).is_file() and atomic_write.read_card(details)["lineage_id"] != card["lineage_id"]:
        return None
    step: int = atomic_write.read_json(metrics)["chosen_step"]
    return step


def _place(
    card: Mapping[str, Any], paths: Paths, format: str, kinds: tuple[str, ...], step: int, out: Path | None
) -> tuple[Path, tuple[str, ...]]:
    """The folder that the export goes into, and the names in it; a learnt word's file is named after the species."""
    home, stem = paths.root / "exports" / format, f"{paths.species}-{card['method']}-step-{step:06d}"
    word = f"{paths.species}{ENDING}"
    if format == "kohya" and len(kinds) > 1:
        return out or home / stem, (f"{stem}{ENDING}", word)
    if format == "diffusers" and (len(kinds) > 1 or kinds == ("folder",)):
        final = out or home / stem
        return final.parent, (final.name,)
    is_word = format == "kohya" and kinds == ("embeddings",)
    folder, name = (home / stem, word) if is_word else (home, f"{stem}{ENDING}")
    if out is None or out.is_dir():
        return out or folder, (name,)
    if out.suffix != ENDING:
        raise InputError(f"--out is {str(out)!r}, which is no folder; make it, or name a file that ends in {ENDING}")
    return out.parent, (out.name,)


def _made(card: Mapping[str, Any], paths: Paths, step: int, dtype: str | None, word: str) -> Export:
    source = paths.model / next(s["path"] for s in card["snapshots"] if s["step"] == step)
    if not source.is_dir():
        raise InputError(f"{source} is missing, though its card names it; run the training of {paths.species} again")
    chosen, base = method(card["method"]), paths.root / card["base"]
    precision = lookup("--dtype", dtype or card["params"]["save_dtype"], DTYPES, error=InputError)
    model = _model(card, paths, step, source if chosen.saves_full_model else base, word)
    return Export(card, model.family, chosen, model, source, base, precision)


def _model(card: Mapping[str, Any], paths: Paths, step: int, folder: Path, word: str) -> ExportedModel:
    """`folder` is a whole model, perhaps not there any more; `word` is what a learnt word is called elsewhere."""
    base, its_family, learns = Path(card["base"]), family(card["family"]), method(card["method"])
    metadata = {key: str(card[key]) for key in METADATA if key in card}
    known = (folder / "unet" / "config.json").is_file() and (folder / "scheduler").is_dir()
    version = its_family.kohya_version(atomic_write.read_json(folder / "unet" / "config.json")) if known else None
    prediction = read_scheduler(folder).get("prediction_type", "epsilon") if known else ""
    return ExportedModel(
        metadata={**metadata, "base": base.name if base.is_absolute() else base.as_posix(), "step": str(step)},
        family=its_family,
        title=f"{paths.species}-{card['method']}-step-{step:06d}",
        trigger=word if word and "embeddings" in learns.formats.get("kohya", ()) else card["trigger"],
        version=version,
        architecture=its_family.architecture(version, prediction) if version else "",
        prediction=prediction,
        params=card["params"],
    )


def _write_all(
    made: Export, format: str, kinds: tuple[str, ...], building: Path, folder: Path, names: tuple[str, ...]
) -> list[str]:
    """Write every artefact of an export; returns how to load it."""
    if format == "diffusers" and len(kinds) > 1:  # a folder with the snapshot's files
        inner, shown = building / names[0], folder / names[0]
        inner.mkdir()
        lines = _write_diffusers_embeddings(made, inner, shown, placeholder_tokens.FILE)
        return [*lines, *_write_diffusers_adapters(made, inner, shown, lora_file.FILE)]
    written = (WRITERS[format, kind](made, building, folder, name) for kind, name in zip(kinds, names, strict=True))
    return [line for lines in written for line in lines]


def _write_kohya_adapters(made: Export, building: Path, folder: Path, name: str) -> list[str]:
    found = made.method.adapters(made.source)
    renamed = adapters.kohya(found.tensors, found.configs, made.family.adapter_prefixes)
    alphas = [tensor.item() for key, tensor in renamed.items() if key.endswith(".alpha")]
    rank = max(config["r"] for config in found.configs.values())
    header = headers.header(made.model, "adapters")
    header |= headers.kohya(made.model, made.method.kohya_network, rank, max(alphas))
    _write(building / name, renamed, header, made.dtype)
    return guide.adapters(Path(name).stem, made.model)


def _write_kohya_embeddings(made: Export, building: Path, folder: Path, name: str) -> list[str]:
    _, tensors = base_compatibility.read(made.source / placeholder_tokens.FILE, tensors=True)
    _write(building / name, embeddings.kohya(tensors), headers.header(made.model, "embeddings"), made.dtype)
    return guide.embeddings(Path(name).stem, made.model)


def _write_diffusers_adapters(made: Export, building: Path, folder: Path, name: str) -> list[str]:
    header, tensors = base_compatibility.read(made.source / lora_file.FILE, tensors=True)
    header = {lora_file.HEADER: header[lora_file.HEADER], **headers.header(made.model, "adapters")}
    _write(building / name, tensors, header, made.dtype)
    return guide.adapters_in_diffusers(folder, name, made.model)


def _write_diffusers_embeddings(made: Export, building: Path, folder: Path, name: str) -> list[str]:
    header, tensors = base_compatibility.read(made.source / placeholder_tokens.FILE, tensors=True)
    header = {**headers.header(made.model, "embeddings"), "name": header["name"]}
    _write(building / name, tensors, header, made.dtype)
    return guide.embeddings_in_diffusers(folder / name, made.model)


def _write_folder(made: Export, building: Path, folder: Path, name: str) -> list[str]:
    """A whole model. A snapshot that is one is copied; in another dtype only its UNet and text encoders are others.

    The scheduler and all else are the base's, byte for byte.
    """
    if made.method.saves_full_model and made.dtype == DTYPES[made.card["params"]["save_dtype"]]:
        shutil.copytree(made.source, building / name)
        return guide.folder_in_diffusers(folder / name)
    components = _whole(made)
    header = headers.header(made.model, "checkpoint")
    del header[headers.HASH]  # of one file, and this is several
    full_fine_tune.save(Trainable(components, components.by_folder), building / name, made.dtype, header)
    return guide.folder_in_diffusers(folder / name)


def _write_single_file(made: Export, building: Path, folder: Path, name: str) -> list[str]:
    components, model = _whole(made), made.model
    encoders = [(encoder.state_dict(), encoder.config.to_dict()) for encoder in components.text_encoders]
    tensors = checkpoint.checkpoint(components.unet.state_dict(), components.vae.state_dict(), encoders)
    zero_snr = bool(
        components.scheduler.get("rescale_betas_zero_snr") or made.card["params"]["loss"]["zero_terminal_snr"]
    )
    tensors |= made.family.checkpoint_markers(model.prediction, zero_snr)
    _write(building / name, tensors, headers.header(model, "checkpoint"), made.dtype)
    sidecar = ""
    if model.prediction == "v_prediction" and made.family.has_sampling_config:
        sidecar = f"{name.removesuffix(ENDING)}.yaml"
        openclip = checkpoint.is_openclip(encoders[0][1])
        config = ldm_config.config(
            components.unet.config, components.vae.config, components.scheduler, openclip=openclip
        )
        atomic_write.write_text(building / sidecar, json.dumps(config, indent=2) + "\n")
    return guide.checkpoint(model, zero_snr, sidecar)


def _whole(made: Export) -> ModelComponents:
    """The model of the snapshot in full precision, adapters merged."""
    if made.method.saves_full_model:
        return made.family.load(made.source, "cpu", torch.float32)
    name, kohya = made.card["base"], "--format kohya needs none"
    if not made.base.is_dir():
        raise InputError(f"the adapters are merged into the base model {name!r}, which is not there; {kohya}")
    if weights_digest(made.base) != made.card["base_digest"]:
        raise InputError(f"{name!r} is not the base model that the adapters were trained on; {kohya}")
    return merged(made.method.restore(made.family.load(made.base, "cpu", torch.float32), made.source))


def _write(path: Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, str], dtype: torch.dtype) -> None:
    """Everything in one dtype but alphas, which are exact only as they are."""
    cast = {name: tensor if name.endswith(".alpha") else tensor.to(dtype) for name, tensor in tensors.items()}
    write_tensors(path, cast, header)
    export_files.fill_hash(path, headers.NO_HASH)


Writer = Callable[[Export, Path, Path, str], list[str]]  # what, built where, going where, under what name
WRITERS: dict[tuple[str, str], Writer] = {
    ("kohya", "adapters"): _write_kohya_adapters,
    ("kohya", "embeddings"): _write_kohya_embeddings,
    ("diffusers", "adapters"): _write_diffusers_adapters,
    ("diffusers", "embeddings"): _write_diffusers_embeddings,
    ("diffusers", "folder"): _write_folder,
    ("single-file", "checkpoint"): _write_single_file,
}
