"""Where an exported file goes in ComfyUI and AUTOMATIC1111, and what to write into the prompt there."""

from __future__ import annotations

from pathlib import Path

from pipeline.exporting.headers import Model


def adapters(name: str, model: Model) -> list[str]:
    """For `name.safetensors`, adapters in kohya's names."""
    return [
        f"  base model: {model.stamp['base']}",
        "  ComfyUI: into models/loras, and a node Load LoRA behind the one that loads the base model",
        f"  AUTOMATIC1111: into models/Lora, and <lora:{name}:1> in the prompt",
        *_other_shape(model),
    ]


def words(name: str, model: Model) -> list[str]:
    """For `name.safetensors`, a learnt word; the file's name is the word."""
    return [
        f"  base model: {model.stamp['base']}",
        f"  ComfyUI: into models/embeddings, and embedding:{name} in the prompt",
        f"  AUTOMATIC1111: into embeddings, and {name} in the prompt",
        *_other_shape(model),
    ]


def checkpoint(model: Model, zero_terminal_snr: bool, sidecar: str) -> list[str]:
    """For one file with a whole model; `sidecar` is the config beside it, if it needs one."""
    beside = f" together with {sidecar}" if sidecar else ""
    return [
        "  ComfyUI: into models/checkpoints, and a node Load Checkpoint" + _comfy_sampling(model, zero_terminal_snr),
        f"  AUTOMATIC1111: into models/Stable-diffusion{beside}" + _a1111_sampling(zero_terminal_snr),
        *_other_shape(model),
    ]


def _comfy_sampling(model: Model, zero_terminal_snr: bool) -> str:
    """XL's files say how they are sampled; of the others ComfyUI has to be told."""
    if model.prediction != "v_prediction" or model.stamp["family"] == "sdxl":
        return ""
    return f", behind it ModelSamplingDiscrete: v_prediction{', zsnr' if zero_terminal_snr else ''}"


def _a1111_sampling(zero_terminal_snr: bool) -> str:
    return "; in its settings the noise schedule Zero Terminal SNR" if zero_terminal_snr else ""


def adapters_in_diffusers(folder: Path, name: str, model: Model) -> list[str]:
    """For a file of adapters that diffusers loads over its base."""
    return [
        f"  base model: {model.stamp['base']}",
        f"  diffusers: pipeline.load_lora_weights({str(folder)!r}, weight_name={name!r})",
    ]


def words_in_diffusers(path: Path, model: Model) -> list[str]:
    """For a file of learnt words; XL's has one tensor for each text encoder."""
    line = f"pipeline.load_textual_inversion({str(path)!r})"
    if model.stamp["family"] != "sdxl":
        return [f"  diffusers: {line}"]
    ends = (("clip_l", ""), ("clip_g", "_2"))
    return [f"  diffusers: words = load_file({str(path)!r})"] + [
        f"    pipeline.load_textual_inversion(words[{key!r}], {model.trigger!r}, "
        f"tokenizer=pipeline.tokenizer{end}, text_encoder=pipeline.text_encoder{end})"
        for key, end in ends
    ]


def folder_in_diffusers(folder: Path) -> list[str]:
    """For a whole model."""
    return [f"  diffusers: DiffusionPipeline.from_pretrained({str(folder)!r})"]


def _other_shape(model: Model) -> list[str]:
    if model.version != "":
        return []
    return ["  but these two load nothing of another shape than Stable Diffusion 1, 2 or XL, and this is of another"]
