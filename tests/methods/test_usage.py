"""The code that the gallery shows runs, and draws with what was learnt, for every method."""

from __future__ import annotations

import diffusers
import pytest
import torch

from pipeline.core.records import Subject
from pipeline.families import family
from pipeline.methods import METHODS, method
from pipeline.methods.usage import usage
from tests import tiny_models
from tests.training.world import train_params

SUBJECT = Subject("dodo", "Raphus cucullatus", "bird")


@pytest.fixture
def quick(monkeypatch):
    """Two small steps in place of fifty large ones."""
    for kind in (diffusers.StableDiffusionPipeline, diffusers.StableDiffusionXLPipeline):
        real = kind.__call__

        def call(self, prompt, real=real):
            self.set_progress_bar_config(disable=True)
            return real(
                self, prompt, height=16, width=16, num_inference_steps=2, generator=torch.Generator().manual_seed(1)
            )

        monkeypatch.setattr(kind, "__call__", call)


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_what_is_shown_runs(name, kind, tmp_path, monkeypatch, quick):
    monkeypatch.chdir(tmp_path)
    getattr(tiny_models, f"write_{name}")(tmp_path / "base")
    with_text = {key: {"rank": 2, "train_text_encoder": True} for key in ("lora", "lokr", "loha")}
    train = train_params(method=kind, **with_text)
    trainable = method(kind).attach(family(name).load("base"), train, SUBJECT, 1, torch.float32)
    with torch.no_grad():
        for weight in trainable.parameters.values():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    (tmp_path / "models/dodo").mkdir(parents=True)
    method(kind).save(trainable, tmp_path / "models/dodo/step-000002", torch.float32, {"family": name})

    card = {
        "family": name,
        "method": kind,
        "base": "base",
        "trigger": method(kind).trigger(SUBJECT),
        "params": train.model_dump(mode="json"),
    }
    pictures = [_run(usage(card, path), tmp_path) for path in ("models/dodo/step-000002", "base")]
    assert pictures[0] != pictures[1]


def _run(code: str, folder) -> bytes:
    exec(compile(code, "shown", "exec"), {})  # noqa: S102
    return (folder / "picture.png").read_bytes()
