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
from safetensors import SafetensorError, safe_open

from pipeline.core.errors import InputError
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Report
from pipeline.exporting import ADAPTERS, WHOLE, WORDS, adapters, check, checkpoint, guide, headers, ldm_config, words
from pipeline.exporting.headers import Model
from pipeline.exporting.merging import merged
from pipeline.families import family
from pipeline.families.model_components import ModelComponents, read_scheduler
from pipeline.io.files import atomic_write, export_files
from pipeline.io.files.model_folders import weights_digest
from pipeline.methods import full_fine_tune, lora, method, peft_folders, token_embeddings
from pipeline.methods.trainable import Trainable, write_tensors

DTYPES = ("float16", "float32", "bfloat16")
STAMP = ("lineage_id", "species", "trigger", "method", "family", "base_digest", "dataset_digest", "licences_digest")
ENDING = ".safetensors"


@dataclass(frozen=True)
class Export:
    """What is exported: `source` is the snapshot's folder, `base` its base's, `dtype` that of the exported weights."""

    card: Mapping[str, Any]
    model: Model
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
    card = _card(paths)
    check(card["method"], format)
    step, why = _step(card, paths, step)
    folder, names = _place(card, paths, format, step, out)
    made = _made(card, paths, step, dtype, Path(names[-1]).stem if format == "kohya" else "")
    shown_at = folder.relative_to(paths.root) if folder.is_relative_to(paths.root) else folder
    shown = f"  {card['method']} in the format {format}, {str(made.dtype).removeprefix('torch.')}; {why}"
    if dry_run:
        return Report("export", (*(str(shown_at / name) for name in names), shown, "dry run: export did nothing"))
    with export_files.building(folder) as building:
        lines = WRITERS[card["method"], format](made, building, shown_at, names)
        moved = export_files.settle(building, folder, shown_at)
    return Report("export", (*moved, shown, f"  trigger words: {made.model.trigger}", *dict.fromkeys(lines)))


def _card(paths: Paths) -> dict[str, Any]:
    if not (paths.model / atomic_write.CARD).is_file():
        raise InputError(f"{paths.species} has no trained model yet; run `paleo train {paths.species}` first")
    return atomic_write.read_card(paths.model)


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
    return atomic_write.read_json(metrics)["chosen_step"]


def _place(
    card: Mapping[str, Any], paths: Paths, format: str, step: int, out: Path | None
) -> tuple[Path, tuple[str, ...]]:
    """The folder that the export goes into, and the names in it; a learnt word's file is named after the species."""
    learns, home = card["method"], paths.root / "exports" / format
    stem = f"{paths.species}-{learns}-step-{step:06d}"
    word = f"{paths.species}{ENDING}"
    if format == "kohya" and learns == "pivotal":
        return out or home / stem, (f"{stem}{ENDING}", word)
    if format == "diffusers" and learns not in ("lora", "textual_inversion"):  # a folder
        final = out or home / stem
        return final.parent, (final.name,)
    folder, name = (home / stem, word) if format == "kohya" and learns in WORDS else (home, f"{stem}{ENDING}")
    if out is None or out.is_dir():
        return out or folder, (name,)
    if out.suffix != ENDING:
        raise InputError(f"--out is {str(out)!r}, which is no folder; make it, or name a file that ends in {ENDING}")
    return out.parent, (out.name,)


def _made(card: Mapping[str, Any], paths: Paths, step: int, dtype: str | None, word: str) -> Export:
    source = paths.model / next(s["path"] for s in card["snapshots"] if s["step"] == step)
    if not source.is_dir():
        raise InputError(f"{source} is missing, though its card names it; run the training of {paths.species} again")
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"--dtype is {dtype!r}; there are {', '.join(DTYPES)}")
    base = paths.root / card["base"]
    model = _model(card, paths, step, source if card["method"] in WHOLE else base, word)
    return Export(card, model, source, base, getattr(torch, dtype) if dtype else _saved_dtype(card))


def _saved_dtype(card: Mapping[str, Any]) -> torch.dtype:
    return getattr(torch, card["params"]["save_dtype"])


def _model(card: Mapping[str, Any], paths: Paths, step: int, folder: Path, word: str) -> Model:
    """`folder` is a whole model, perhaps not there any more; `word` is what a learnt word is called elsewhere."""
    base = Path(card["base"])
    stamp = {key: str(card[key]) for key in STAMP if key in card}
    known = (folder / "unet" / "config.json").is_file() and (folder / "scheduler").is_dir()
    unet = atomic_write.read_json(folder / "unet" / "config.json") if known else None
    return Model(
        stamp={**stamp, "base": base.name if base.is_absolute() else base.as_posix(), "step": str(step)},
        title=f"{paths.species}-{card['method']}-step-{step:06d}",
        trigger=word if word and card["method"] in WORDS else card["trigger"],
        version=headers.version(card["family"], unet) if known else None,
        prediction=read_scheduler(folder).get("prediction_type", "epsilon") if known else "",
        params=card["params"],
    )


def _kohya_adapters(made: Export, building: Path, folder: Path, names: tuple[str, ...]) -> list[str]:
    tensors, configs = _adapters(made)
    renamed = adapters.kohya(tensors, configs, made.card["family"])
    alphas = [tensor.item() for name, tensor in renamed.items() if name.endswith(".alpha")]
    header = headers.header(made.model, "adapters")
    header |= headers.kohya(made.model, max(config["r"] for config in configs.values()), max(alphas))
    _write(building / names[0], renamed, header, made.dtype)
    return guide.adapters(Path(names[0]).stem, made.model)


def _kohya_words(made: Export, building: Path, folder: Path, names: tuple[str, ...]) -> list[str]:
    _, tensors = _read(made.source / token_embeddings.FILE)
    _write(building / names[-1], words.kohya(tensors), headers.header(made.model, "words"), made.dtype)
    return guide.words(Path(names[-1]).stem, made.model)


def _kohya_both(made: Export, building: Path, folder: Path, names: tuple[str, ...]) -> list[str]:
    return [*_kohya_adapters(made, building, folder, names), *_kohya_words(made, building, folder, names)]


def _adapters(made: Export) -> tuple[dict[str, torch.Tensor], dict[str, dict[str, Any]]]:
    """A snapshot's adapters by `module.layer.matrix`, and the peft config of each module."""
    if made.card["method"] in ("lora", "pivotal"):
        header, tensors = _read(made.source / lora.FILE)
        return tensors, adapters.split_config(json.loads(header[lora.HEADER]))
    tensors, configs = {}, {}
    for folder in sorted(path.parent for path in made.source.glob(f"*/{peft_folders.WEIGHTS}")):
        _, own = _read(folder / peft_folders.WEIGHTS)
        tensors |= {f"{folder.name}.{name.removeprefix(peft_folders.PREFIX)}": own[name] for name in own}
        configs[folder.name] = atomic_write.read_json(folder / peft_folders.CONFIG)
    return tensors, configs


def _adapters_file(made: Export, building: Path, folder: Path, names: tuple[str, ...]) -> list[str]:
    header, tensors = _read(made.source / lora.FILE)
    header = {lora.HEADER: header[lora.HEADER], **headers.header(made.model, "adapters")}
    _write(building / names[0], tensors, header, made.dtype)
    return guide.adapters_in_diffusers(folder, names[0], made.model)


def _words_file(made: Export, building: Path, folder: Path, names: tuple[str, ...]) -> list[str]:
    header, tensors = _read(made.source / token_embeddings.FILE)
    _write(building / names[0], tensors, {**headers.header(made.model, "words"), "name": header["name"]}, made.dtype)
    return guide.words_in_diffusers(folder / names[0], made.model)


def _both_files(made: Export, building: Path, folder: Path, names: tuple[str, ...]) -> list[str]:
    inner = building / names[0]
    inner.mkdir()
    return [
        *_words_file(made, inner, folder / names[0], (token_embeddings.FILE,)),
        *_adapters_file(made, inner, folder / names[0], (lora.FILE,)),
    ]


def _folder(made: Export, building: Path, folder: Path, names: tuple[str, ...]) -> list[str]:
    """A whole model. A snapshot that is one is copied; in another dtype only its UNet and text encoders are others.

    The scheduler and all else are the base's, byte for byte.
    """
    if made.card["method"] in WHOLE and made.dtype == _saved_dtype(made.card):
        shutil.copytree(made.source, building / names[0])
        return guide.folder_in_diffusers(folder / names[0])
    parts = _whole(made)
    encoders = dict(zip(family(parts.family).TRAINED_TEXT_ENCODERS, parts.text_encoders, strict=True))
    header = headers.header(made.model, "checkpoint")
    del header[headers.HASH]  # of one file, and this is several
    full_fine_tune.save(Trainable(parts, {"unet": parts.unet, **encoders}), building / names[0], made.dtype, header)
    return guide.folder_in_diffusers(folder / names[0])


def _single_file(made: Export, building: Path, folder: Path, names: tuple[str, ...]) -> list[str]:
    parts, (name,) = _whole(made), names
    encoders = [(encoder.state_dict(), encoder.config.to_dict()) for encoder in parts.text_encoders]
    tensors = checkpoint.checkpoint(parts.unet.state_dict(), parts.vae.state_dict(), encoders)
    predicts_v = made.model.prediction == "v_prediction"
    zero = bool(parts.scheduler.get("rescale_betas_zero_snr") or made.card["params"]["loss"]["zero_terminal_snr"])
    if parts.family == "sdxl":
        tensors |= checkpoint.markers(predicts_v, zero)
    _write(building / name, tensors, headers.header(made.model, "checkpoint"), made.dtype)
    sidecar = ""
    if predicts_v and parts.family == "sd":
        sidecar = f"{name.removesuffix(ENDING)}.yaml"
        openclip = checkpoint.is_openclip(encoders[0][1])
        said = ldm_config.config(parts.unet.config, parts.vae.config, parts.scheduler, openclip=openclip)
        atomic_write.write_text(building / sidecar, json.dumps(said, indent=2) + "\n")
    return guide.checkpoint(made.model, zero, sidecar)


def _whole(made: Export) -> ModelComponents:
    """The model of the snapshot in full precision, adapters merged."""
    if made.card["method"] in WHOLE:
        return family(made.card["family"]).load(made.source, "cpu", torch.float32)
    _check_base(made)
    base = family(made.card["family"]).load(made.base, "cpu", torch.float32)
    return merged(method(made.card["method"]).restore(base, made.source))


def _check_base(made: Export) -> None:
    name, kohya = made.card["base"], "--format kohya needs none"
    if not made.base.is_dir():
        raise InputError(f"the adapters are merged into the base model {name!r}, which is not there; {kohya}")
    if weights_digest(made.base) != made.card["base_digest"]:
        raise InputError(f"{name!r} is not the base model that the adapters were trained on; {kohya}")


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Header and tensors of a safetensors file."""
    try:
        with safe_open(path, "pt") as opened:
            return opened.metadata() or {}, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is missing or damaged ({error}); run its training again") from error


def _write(path: Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, str], dtype: torch.dtype) -> None:
    """Everything in one dtype but alphas, which are exact only as they are."""
    cast = {name: tensor if name.endswith(".alpha") else tensor.to(dtype) for name, tensor in tensors.items()}
    write_tensors(path, cast, header)
    export_files.fill_hash(path, headers.NO_HASH)


Writer = Callable[[Export, Path, Path, tuple[str, ...]], list[str]]  # what, built where, going where, under what names
WRITERS: dict[tuple[str, str], Writer] = {
    **{(name, "kohya"): _kohya_adapters for name in ADAPTERS},
    ("lora", "diffusers"): _adapters_file,
    **{(name, "diffusers"): _folder for name in ("lokr", "loha", *WHOLE)},
    **{(name, "single-file"): _single_file for name in (*ADAPTERS, *WHOLE)},
    ("textual_inversion", "kohya"): _kohya_words,
    ("textual_inversion", "diffusers"): _words_file,
    ("pivotal", "kohya"): _kohya_both,
    ("pivotal", "diffusers"): _both_files,
}
