"""Every method with every family: trained, saved, and loaded by diffusers alone, which must draw the same pictures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from diffusers import DDIMScheduler, DiffusionPipeline
from peft import PeftModel
from safetensors.torch import load_file

from pipeline.core.errors import Interrupted, ParamsError
from pipeline.families import FAMILIES, family
from pipeline.methods import METHODS, lora_file, method, placeholder_tokens
from pipeline.methods.lokr import Lokr
from pipeline.methods.resolution import check_pair
from pipeline.train import _training_run
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.loop import Hooks, train_to_end
from pipeline.training.task import prepare
from tests.project import edit_params
from tests.training import world

STEPS = 3
FAST = {"steps": STEPS, "snapshots": [STEPS], "learning_rate": 0.02, "warmup_steps": 0, "save_every_steps": 100}
QUICK = FAST | {"prior": {"kind": "teacher", "weight": 0.5}, "batch_size": 2}
SMALL = {"rank": 4, "alpha": 16, "train_text_encoder": True}
CHANGES = {
    "lora": {"lora": {**SMALL, "rslora": True, "dora": True}},
    "lokr": {"lokr": SMALL},
    "loha": {"loha": SMALL},
    "textual_inversion": {"textual_inversion": {"vectors": 2, "learning_rate": 0.3}},
    "pivotal": {"lora": SMALL, "pivotal": {"vectors": 2, "learning_rate": 0.3}},
}
DRAWING = {"height": 16, "width": 16, "num_inference_steps": 2, "guidance_scale": 2.0, "output_type": "np"}


def _whole(base: Path, checkpoint: Path) -> DiffusionPipeline:
    return DiffusionPipeline.from_pretrained(checkpoint, local_files_only=True)


def _with_lora(base: Path, checkpoint: Path) -> DiffusionPipeline:
    pipeline = _whole(checkpoint, base)
    pipeline.load_lora_weights(checkpoint, weight_name=lora_file.FILE)
    return pipeline


def _with_peft(base: Path, checkpoint: Path) -> DiffusionPipeline:
    pipeline = _whole(checkpoint, base)
    for folder in checkpoint.iterdir():
        PeftModel.from_pretrained(getattr(pipeline, folder.name), folder)
    return pipeline


def _with_tokens(base: Path, checkpoint: Path) -> DiffusionPipeline:
    pipeline, state = _whole(checkpoint, base), load_file(checkpoint / placeholder_tokens.FILE)
    if len(state) == 1:
        pipeline.load_textual_inversion(checkpoint / placeholder_tokens.FILE, token="<dodo>")
    for key, end in (("clip_l", ""), ("clip_g", "_2")) if len(state) == 2 else ():
        encoder, tokenizer = getattr(pipeline, f"text_encoder{end}"), getattr(pipeline, f"tokenizer{end}")
        pipeline.load_textual_inversion(state[key], token="<dodo>", text_encoder=encoder, tokenizer=tokenizer)
    return pipeline


def _with_both(base: Path, checkpoint: Path) -> DiffusionPipeline:
    pipeline = _with_tokens(base, checkpoint)
    pipeline.load_lora_weights(checkpoint, weight_name=lora_file.FILE)
    return pipeline


LOADERS = {
    "dreambooth": _whole,
    "full": _whole,
    "lora": _with_lora,
    "lokr": _with_peft,
    "loha": _with_peft,
    "textual_inversion": _with_tokens,
    "pivotal": _with_both,
}


def _trained(run, folder: Path, stop_at: int | None = None):
    """Components, numbers of every step, and the one checkpoint, of a training in `folder`."""
    reports, store = [], CheckpointStore(folder, "x")
    hooks = Hooks(reports.append, print, lambda: len(reports) == stop_at, lambda: 0.0)
    accelerator = Accelerator(cpu=True)
    state = train_to_end(prepare(run, accelerator, folder.parent / "cache"), accelerator, store, hooks)
    return state.trainable.components, state.history, store.snapshot(STEPS)


def _drawn(pipeline: DiffusionPipeline, **prompt) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(generator=torch.Generator().manual_seed(1), **prompt, **DRAWING).images


@torch.no_grad()
def _drawn_by(components, prompt: str, base: Path) -> np.ndarray:
    """By the components that were trained; the sentences are encoded as in training."""
    prompted, empty = (components.family.encode_prompt(components, [text]) for text in (prompt, " "))
    embeds = {"prompt_embeds": prompted.states, "negative_prompt_embeds": empty.states}
    if prompted.pooled is not None:
        embeds |= {"pooled_prompt_embeds": prompted.pooled, "negative_pooled_prompt_embeds": empty.pooled}
    scheduler = DDIMScheduler.from_pretrained(base, subfolder="scheduler")
    return _drawn(components.family.pipeline(components, scheduler), **embeds)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", METHODS)
def test_diffusers_alone_draws_the_same_pictures(kind, name, project, tmp_path, request):
    base = request.getfixturevalue(f"{name}_base")
    run = world.training_run(project, **FAST, method=kind, **CHANGES.get(kind, {}))
    run = replace(run, family=family(name), base=base)
    components, history, checkpoint = _trained(run, tmp_path / "run")
    assert len(history) == STEPS

    prompt = f"{method(kind).trigger(run.subject)} at"
    theirs = _drawn(LOADERS[kind](base, checkpoint), prompt=prompt, negative_prompt=" ")
    np.testing.assert_allclose(theirs, _drawn_by(components, prompt, base), atol=1e-5)
    if kind != "textual_inversion":  # the base does not have its tokens
        assert abs(theirs - _drawn(_whole(base, base), prompt=prompt, negative_prompt=" ")).max() > 0.01


@pytest.mark.parametrize("kind", METHODS)
def test_a_resumed_training_is_bit_for_bit_the_same(kind, project, tmp_path):
    run = world.training_run(project, **QUICK, method=kind, **CHANGES.get(kind, {}))
    _, straight, checkpoint = _trained(run, tmp_path / "straight")
    with pytest.raises(Interrupted):
        _trained(run, tmp_path / "broken", stop_at=1)
    _, broken, again = _trained(run, tmp_path / "broken")
    assert broken == straight
    assert _bytes(again) == _bytes(checkpoint)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_pair_that_does_not_work_is_refused_before_anything_is_read(project, monkeypatch):
    monkeypatch.setattr(Lokr, "needs", frozenset({"predicts_flow"}))
    edit_params(project.root, {"base": {"family": "sdxl", "path": "nowhere"}, "train": {"method": "lokr"}})
    with pytest.raises(
        ParamsError,
        match=r"train.method 'lokr' does not work for base.family 'sdxl', which lacks .*flow; .* these do: dre",
    ):
        _training_run(world.load(project), project)
    check_pair(method("lora"), family("sdxl"))
