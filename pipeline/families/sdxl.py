"""Stable Diffusion XL: two text encoders, a pooled sentence vector, and the picture's size as a condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.families import model_folder
from pipeline.families.family import Capability, Family

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pipeline.families.model_components import Conditioning, ModelComponents

SHAPE = (320, 640, 1280)
VERSIONS = {2048: "sdxl_base_v1-0"}  # by the width of the text that the UNet reads


class StableDiffusionXL:
    name = "sdxl"
    title = "Stable Diffusion XL"
    capabilities: frozenset[Capability] = frozenset(
        {"unet", "text_encoder", "predicts_noise", "predicts_velocity", "pooled_text"}
    )
    text_encoders = ("text_encoder", "text_encoder_2")
    pipeline_class = "StableDiffusionXLPipeline"
    adapter_prefixes: Mapping[str, str] = {
        "unet": "lora_unet",
        "text_encoder": "lora_te1",
        "text_encoder_2": "lora_te2",
    }
    embedding_keys: tuple[str, ...] = ("clip_l", "clip_g")
    has_sampling_config = False

    def recognises(self, index: Mapping[str, Any], unet: Mapping[str, Any]) -> bool:
        return unet.get("addition_embed_type") == "text_time" or "text_encoder_2" in index

    def load(
        self, folder: Path | str, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> ModelComponents:
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        from pipeline.families.model_components import load_components

        encoders = (CLIPTextModel, CLIPTextModelWithProjection)
        return load_components(
            self, Path(folder), device, dtype, unet=UNet2DConditionModel, vae=AutoencoderKL, encoders=encoders
        )

    def empty(self, folder: Path, name: str) -> nn.Module:
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        from pipeline.families.empty_weights import empty_text_encoder, empty_unet

        if name == "unet":
            return empty_unet(folder)
        kind = CLIPTextModelWithProjection if name == "text_encoder_2" else CLIPTextModel
        return empty_text_encoder(kind, folder, name)

    def encode_prompt(self, components: ModelComponents, prompts: Sequence[str]) -> Conditioning:
        """n prompts -> states (n, context, both widths) and pooled (n, width of the second)."""
        from pipeline.families.model_components import tokenise

        return self.encode_tokens(components, tokenise(components, prompts))

    def encode_tokens(self, components: ModelComponents, tokens: tuple[torch.Tensor, ...]) -> Conditioning:
        """The second-to-last layer of both encoders side by side; the projected end token of the second."""
        import torch

        from pipeline.families.model_components import Conditioning

        first, second = (
            encoder(ids, output_hidden_states=True)
            for encoder, ids in zip(components.text_encoders, tokens, strict=True)
        )
        states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        return Conditioning(states, second.text_embeds)

    def predict(
        self, components: ModelComponents, noisy: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning
    ) -> torch.Tensor:
        """The UNet's output; without `conditioning.sizes` for pictures that were not scaled or cropped."""
        sizes = time_ids(components, noisy) if conditioning.sizes is None else conditioning.sizes.to(noisy.dtype)
        added = {"text_embeds": conditioning.pooled, "time_ids": sizes}
        output: torch.Tensor = components.unet(
            noisy, timesteps, encoder_hidden_states=conditioning.states, added_cond_kwargs=added, return_dict=False
        )[0]
        return output

    def pipeline(self, components: ModelComponents, scheduler: Any) -> Any:
        from diffusers import StableDiffusionXLPipeline

        made = StableDiffusionXLPipeline(
            vae=components.vae,
            text_encoder=components.text_encoders[0],
            text_encoder_2=components.text_encoders[1],
            tokenizer=components.tokenizers[0],
            tokenizer_2=components.tokenizers[1],
            unet=components.unet,
            scheduler=scheduler,
            add_watermarker=False,
        )
        made.set_progress_bar_config(disable=True)
        return made

    def kohya_version(self, unet: Mapping[str, Any]) -> str:
        return model_folder.version_by_width(unet, SHAPE, VERSIONS)

    def architecture(self, version: str, prediction_type: str) -> str:
        return "stable-diffusion-xl-v1-base"

    def checkpoint_markers(self, prediction_type: str, zero_terminal_snr: bool) -> dict[str, torch.Tensor]:
        """ComfyUI and AUTOMATIC1111 read from these names, whatever the tensors hold, how XL is sampled."""
        import torch

        if prediction_type != "v_prediction":
            return {}
        return {name: torch.zeros(0) for name in ("v_pred", *(["ztsnr"] if zero_terminal_snr else []))}


_: type[Family] = StableDiffusionXL


def time_ids(components: ModelComponents, noisy: torch.Tensor) -> torch.Tensor:
    """(n, 6): original height and width, crop top and left, target height and width, in pixels."""
    import torch

    height_px, width_px = (edge * components.pixels_per_latent for edge in noisy.shape[-2:])
    row = [height_px, width_px, 0, 0, height_px, width_px]
    return torch.tensor(row, dtype=noisy.dtype, device=noisy.device).expand(len(noisy), -1)
