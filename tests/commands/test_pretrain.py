"""`paleo pretrain` at a very small scale, and what the committed base model must be able to do."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPModel

from pipeline.commands import pretrain as stage
from pipeline.pretraining import measure
from pipeline.pretraining.drawings import DrawingSet
from pipeline.pretraining.render_drawings import shrink
from pipeline.pretraining.settings import (
    AutoencoderSettings,
    ClipSettings,
    DenoiserSettings,
    DrawingSettings,
    FinishSettings,
    Phase,
    SampleSettings,
    Settings,
    TextSettings,
)
from pipeline.pretraining.tokenizer import train_merges
from pipeline.vision import clip as vision_clip

ASSETS = Path(__file__).parents[2] / "pipeline/assets/tiny"
SHORT = Phase(steps=4, batch=4, peak_rate=1e-3, warmup_steps=2, save_every=2)
SMALL = Settings(
    drawings=DrawingSettings(count=16, held_out=8, drawn_px=64),
    text=TextSettings(width=32, layers=1, inner=32),
    autoencoder=AutoencoderSettings(phase=SHORT, channels=(8, 8, 16), latent_channels=4),
    clip=ClipSettings(phase=SHORT, width=32, layers=1, inner=32, projection=16),
    denoiser=DenoiserSettings(phase=SHORT, channels=(16, 32), attention=(False, True), norm_groups=8),
    finish=FinishSettings(phase=SHORT),
    samples=SampleSettings(pictures=1, steps=2),
)


class Killed(BaseException):
    """No Exception, so that nothing catches it on the way."""


def run(folder: Path):
    return stage.pretrain(folder / "out", work=folder / "work", settings=SMALL, tracked=False)


def kill_at(monkeypatch, phase: str, step: int) -> None:
    @contextmanager
    def progress_display():
        def on_progress(name, at, steps, values):
            if (name, at) == (phase, step):
                raise Killed

        yield on_progress

    monkeypatch.setattr(stage.phase_progress, "progress_display", progress_display)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    run(folder)
    return folder


def weights(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.safetensors"))}


def test_the_folder_is_a_pipeline_and_a_clip(unbroken):
    pipeline = StableDiffusionPipeline.from_pretrained(unbroken / "out", safety_checker=None, local_files_only=True)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline("a bird", num_inference_steps=1, output_type="np").images.shape == (1, 64, 64, 3)
    assert CLIPModel.from_pretrained(unbroken / "out", local_files_only=True).config.projection_dim == 16
    assert vision_clip.embed_texts(vision_clip.load(unbroken / "out"), ["a bird"]).shape == (1, 16)


def test_the_model_card_and_the_page_have_the_measurements(unbroken):
    assert "Measured on 8 drawings" in (unbroken / "out/README.md").read_text()
    page = (unbroken / "work/page/index.html").read_text()
    assert page.count("data:image/png") > len(measure.PROMPTS)
    assert "https://" not in page


def test_killed_in_every_phase_and_resumed_equals_unbroken(unbroken, tmp_path, monkeypatch):
    for phase in ("autoencoder", "clip", "denoiser", "finish"):
        kill_at(monkeypatch, phase, 3)
        with pytest.raises(Killed):
            run(tmp_path)
    monkeypatch.undo()
    run(tmp_path)
    assert weights(tmp_path / "out") == weights(unbroken / "out")


def test_names_of_taxa_fit_into_the_context_with_a_caption(unbroken):
    tokenizer = vision_clip.load(unbroken / "out").tokenizer
    caption = "a painting of Sinomacrops bondei and Ornithocheiromorpha flying over the river"
    assert len(tokenizer(caption).input_ids) <= tokenizer.model_max_length
    assert tokenizer.unk_token_id not in tokenizer("Zyx Qü 12é!").input_ids[1:-1]


def test_equally_frequent_pairs_are_merged_in_the_order_of_their_letters():
    """Not in that of a hash table with a random seed, or the same drawings would give another vocabulary."""
    for _ in range(20):
        merges = train_merges(["xb xa xc"], 3)
        assert merges == [("x", "a</w>"), ("x", "b</w>"), ("x", "c</w>")]


def test_other_settings_have_another_state():
    faster = replace(SMALL, denoiser=replace(SMALL.denoiser, phase=replace(SHORT, peak_rate=2e-3)))
    assert stage.state_name("denoiser", faster) != stage.state_name("denoiser", SMALL)
    assert stage.state_name("clip", faster) == stage.state_name("clip", SMALL)


@pytest.fixture(scope="module")
def held_out() -> DrawingSet:
    """Drawings that follow those of the training in the world's sequence."""
    settings = Settings().drawings
    start = settings.count
    drawings = [stage.draw_wide(settings.seed, index, settings.drawn_px) for index in range(start, start + 120)]
    return DrawingSet(
        torch.stack([torch.from_numpy(shrink(image, settings.image_px)) for image, _ in drawings]).numpy(),
        tuple(description for _, description in drawings),
    )


def test_the_embedded_model_is_small():
    assert stage.folder_bytes(ASSETS) <= 16_000_000


def test_the_embedded_clip_names_kinds_it_was_not_trained_to_name(held_out):
    _, counts = measure.confusion(vision_clip.load(ASSETS), held_out)
    assert measure.accuracy(counts) >= 0.9


def test_the_embedded_autoencoder_keeps_the_picture(held_out):
    vae = measure.load_pipeline(ASSETS).vae
    assert measure.peak_signal_to_noise_db(vae, held_out[:32]) > 26
