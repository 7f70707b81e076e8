"""Stable Diffusion 1.x and 2.x, and every model with the same components: one CLIP text encoder, one UNet.

Nothing about a particular model is written here: widths, latent scale and prediction type are in its own configs.
"""

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

SHAPE = (320, 640, 1280, 1280)
VERSIONS = {768: "sd_v1", 1024: "sd_v2"}  # by the width of the text that the UNet reads
ARCHITECTURES = {
    ("sd_v1", "epsilon"): "stable-diffusion-v1",
    ("sd_v1", "v_prediction"): "stable-diffusion-v1",
    ("sd_v2", "epsilon"): "stable-diffusion-v2-512",
    ("sd_v2", "v_prediction"): "stable-diffusion-v2-768-v",
}


class StableDiffusion:
    name = "sd"
    title = "Stable Diffusion 1.x or 2.x"
    capabilities: frozenset[Capability] = frozenset({"unet", "text_encoder", "predicts_noise", "predicts_velocity"})
    text_encoders = ("text_encoder",)
    pipeline_class = "StableDiffusionPipeline"
    adapter_prefixes: Mapping[str, str] = {"unet": "lora_unet", "text_encoder": "lora_te"}
    embedding_keys: tuple[str, ...] = ()
    has_sampling_config = True

    def recognises(self, index: Mapping[str, Any], unet: Mapping[str, Any]) -> bool:
        return unet.get("addition_embed_type") is None and "text_encoder_2" not in index

    def load(
        self, folder: Path | str, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> ModelComponents:
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel

        from pipeline.families.model_components import load_components

        return load_components(
            self, Path(folder), device, dtype, unet=UNet2DConditionModel, vae=AutoencoderKL, encoders=(CLIPTextModel,)
        )

    def empty(self, folder: Path, name: str) -> nn.Module:
        from transformers import CLIPTextModel

        from pipeline.families.empty_weights import empty_text_encoder, empty_unet

        return empty_unet(folder) if name == "unet" else empty_text_encoder(CLIPTextModel, folder, name)

    def encode_prompt(self, components: ModelComponents, prompts: Sequence[str]) -> Conditioning:
        from pipeline.families.model_components import tokenise

        return self.encode_tokens(components, tokenise(components, prompts))

    def encode_tokens(self, components: ModelComponents, tokens: tuple[torch.Tensor, ...]) -> Conditioning:
        """Ids (n, context) -> states (n, context, width), without an attention mask, as the model was trained."""
        from pipeline.families.model_components import Conditioning

        return Conditioning(components.text_encoders[0](tokens[0]).last_hidden_state)

    def predict(
        self, components: ModelComponents, noisy: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning
    ) -> torch.Tensor:
        output: torch.Tensor = components.unet(
            noisy, timesteps, encoder_hidden_states=conditioning.states, return_dict=False
        )[0]
        return output

    def pipeline(self, components: ModelComponents, scheduler: Any) -> Any:
        from diffusers import StableDiffusionPipeline

        made = StableDiffusionPipeline(
            vae=components.vae,
            text_encoder=components.text_encoders[0],
            tokenizer=components.tokenizers[0],
            unet=components.unet,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        made.set_progress_bar_config(disable=True)
        return made

    def kohya_version(self, unet: Mapping[str, Any]) -> str:
        return model_folder.version_by_width(unet, SHAPE, VERSIONS)

    def architecture(self, version: str, prediction_type: str) -> str:
        return ARCHITECTURES[version, prediction_type]

    def checkpoint_markers(self, prediction_type: str, zero_terminal_snr: bool) -> dict[str, torch.Tensor]:
        return {}


_: type[Family] = StableDiffusion
