"""Load instructions: where an exported file goes in ComfyUI, AUTOMATIC1111 and diffusers, and what prompts contain."""

from __future__ import annotations

from pathlib import Path

from pipeline.exporting.file_metadata import ExportedModel


def adapters(name: str, model: ExportedModel) -> list[str]:
    """For `name.safetensors`, adapters in kohya's names."""
    return [
        f"  base model: {model.metadata['base']}",
        "  ComfyUI: into models/loras, and a node Load LoRA behind the one that loads the base model",
        f"  AUTOMATIC1111: into models/Lora, and <lora:{name}:1> in the prompt",
        *_other_shape(model),
    ]


def embeddings(name: str, model: ExportedModel) -> list[str]:
    """For `name.safetensors`, token embeddings; prompts call them by the file's name."""
    return [
        f"  base model: {model.metadata['base']}",
        f"  ComfyUI: into models/embeddings, and embedding:{name} in the prompt",
        f"  AUTOMATIC1111: into embeddings, and {name} in the prompt",
        *_other_shape(model),
    ]


def checkpoint(model: ExportedModel, zero_terminal_snr: bool, sidecar: str) -> list[str]:
    """For one file with a whole model; `sidecar` is the config beside it, if it needs one."""
    beside = f" together with {sidecar}" if sidecar else ""
    return [
        "  ComfyUI: into models/checkpoints, and a node Load Checkpoint" + _comfy_sampling(model, zero_terminal_snr),
        f"  AUTOMATIC1111: into models/Stable-diffusion{beside}" + _a1111_sampling(zero_terminal_snr),
        *_other_shape(model),
    ]


def _comfy_sampling(model: ExportedModel, zero_terminal_snr: bool) -> str:
    """A node for ComfyUI where the file itself does not say how it is sampled."""
    if model.prediction != "v_prediction" or not model.family.has_sampling_config:
        return ""
    return f", behind it ModelSamplingDiscrete: v_prediction{', zsnr' if zero_terminal_snr else ''}"


def _a1111_sampling(zero_terminal_snr: bool) -> str:
    return "; in its settings the noise schedule Zero Terminal SNR" if zero_terminal_snr else ""


def adapters_in_diffusers(folder: Path, name: str, model: ExportedModel) -> list[str]:
    """For a file of adapters that diffusers loads over its base."""
    return [
        f"  base model: {model.metadata['base']}",
        f"  diffusers: pipeline.load_lora_weights({str(folder)!r}, weight_name={name!r})",
    ]


def embeddings_in_diffusers(path: Path, model: ExportedModel) -> list[str]:
    """For a file of token embeddings; one tensor for each text encoder where the family has several."""
    line = f"pipeline.load_textual_inversion({str(path)!r})"
    if not model.family.embedding_keys:
        return [f"  diffusers: {line}"]
    encoders = zip(model.family.embedding_keys, model.family.text_encoders, strict=True)
    return [f"  diffusers: words = load_file({str(path)!r})"] + [
        f"    pipeline.load_textual_inversion(words[{key!r}], {model.trigger!r}, "
        f"tokenizer=pipeline.{encoder.replace('text_encoder', 'tokenizer')}, text_encoder=pipeline.{encoder})"
        for key, encoder in encoders
    ]


def folder_in_diffusers(folder: Path) -> list[str]:
    """For a whole model."""
    return [f"  diffusers: DiffusionPipeline.from_pretrained({str(folder)!r})"]


def _other_shape(model: ExportedModel) -> list[str]:
    if model.version != "":
        return []
    return ["  but these two load nothing of another shape than Stable Diffusion 1, 2 or XL, and this is of another"]
