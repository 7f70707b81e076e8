"""What is learnt, how it is saved, and that it comes back as it was."""

from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file

from pipeline.core import params as params_module
from pipeline.core.errors import ParamsError
from pipeline.core.records import Subject
from pipeline.families import family
from pipeline.training import METHODS, lora, method
from tests.project import ROOT

SUBJECT = Subject("dodo", "Raphus cucullatus", "bird")
STAMP = {"lineage_id": "abc", "step": "7", "base_digest": "def"}
BOTH = [(name, kind) for name in ("sd", "sdxl") for kind in METHODS]


def _train(**changes):
    train = params_module.load(ROOT / "params.yaml").train
    return train.model_copy(update={**changes, "lora": train.lora.model_copy(update=changes.get("lora", {}))})


def _disturb(trainable, amount: float = 0.05) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in trainable.parameters.values():
            weight.add_(torch.randn(weight.shape, generator=generator) * amount)


@torch.no_grad()
def _answer(parts) -> torch.Tensor:
    latents = torch.ones(1, 4, 8, 8)
    known = family(parts.family)
    return known.predict(parts, latents, torch.tensor([400]), known.encode_prompt(parts, ["a bird"]))


def _learnt(base: Path, kind: str, name: str, **changes):
    parts = family(name).load(base)
    trainable = method(kind).attach(parts, _train(**changes), SUBJECT, 1, torch.float32)
    _disturb(trainable)
    return trainable


@pytest.fixture
def base(request, name):
    return request.getfixturevalue(f"{name}_base")


@pytest.mark.parametrize(("name", "kind"), BOTH)
def test_a_snapshot_comes_back_as_it_was(base, name, kind, tmp_path):
    trainable = _learnt(base, kind, name, lora={"rank": 4, "alpha": 16})
    method(kind).save(trainable, tmp_path / "snapshot", torch.float32, STAMP)
    back = method(kind).restore(family(name).load(base), tmp_path / "snapshot")
    torch.testing.assert_close(_answer(back), _answer(trainable.parts), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(_answer(back), _answer(family(name).load(base)), atol=1e-2)


@pytest.mark.parametrize(("name", "kind"), BOTH)
def test_the_same_weights_give_the_same_bytes_with_their_origin_in_the_header(base, name, kind, tmp_path):
    trainable = _learnt(base, kind, name)
    files = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        method(kind).save(trainable, folder, torch.float16, STAMP)
        files.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert files[0] == files[1]
    weights = next(path for path in (tmp_path / "a").rglob("*.safetensors") if "vae" not in str(path))
    with safe_open(weights, "pt") as opened:
        assert STAMP.items() <= opened.metadata().items()
    assert str(tmp_path).encode() not in b"".join(files[0].values())


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_a_dreambooth_snapshot_is_a_whole_model(base, name, tmp_path):
    trainable = _learnt(base, "dreambooth", name)
    METHODS["dreambooth"].save(trainable, tmp_path / "snapshot", torch.float16, STAMP)
    pipeline = DiffusionPipeline.from_pretrained(tmp_path / "snapshot", local_files_only=True)
    assert type(pipeline).__name__ == ("StableDiffusionPipeline" if name == "sd" else "StableDiffusionXLPipeline")
    for part in ("vae", "tokenizer", "scheduler"):
        for path in (base / part).iterdir():
            assert (tmp_path / "snapshot" / part / path.name).read_bytes() == path.read_bytes()
    unet = load_file(tmp_path / "snapshot/unet/diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in unet.values()} == {torch.float16}


@pytest.mark.parametrize("name", ["sd"])
def test_pickles_and_second_variants_stay_behind(base, name, tmp_path):
    trainable = _learnt(base, "dreambooth", name)
    strange = [base / "vae" / "diffusion_pytorch_model.bin", base / "vae" / "diffusion_pytorch_model.fp16.safetensors"]
    for path in strange:
        path.write_bytes(b"x")
    METHODS["dreambooth"].save(trainable, tmp_path / "snapshot", torch.float32, STAMP)
    for path in strange:
        path.unlink()
    assert sorted(path.name for path in (tmp_path / "snapshot/vae").iterdir()) == [
        "config.json", "diffusion_pytorch_model.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["sd"])
def test_older_names_of_text_encoders_are_kept(base, name, tmp_path):
    """Files of transformers 4 have `text_model.` before every name; tools that read snapshots expect them."""
    trainable = _learnt(base, "dreambooth", name)
    stored = base / "text_encoder" / "model.safetensors"
    before = stored.read_bytes()
    from safetensors.torch import save_file

    save_file({f"text_model.{key}": tensor for key, tensor in load_file(stored).items()}, stored)
    try:
        METHODS["dreambooth"].save(trainable, tmp_path / "snapshot", torch.float32, STAMP)
        back = family(name).load(tmp_path / "snapshot")
    finally:
        stored.write_bytes(before)
    names = load_file(tmp_path / "snapshot/text_encoder/model.safetensors")
    assert all(key.startswith("text_model.") for key in names)
    assert torch.equal(_answer(back), _answer(trainable.parts))


@pytest.mark.parametrize("name", ["sd"])
def test_lora_loads_with_diffusers_and_keeps_its_alpha(base, name, tmp_path):
    trainable = _learnt(base, "lora", name, lora={"rank": 4, "alpha": 16})
    lora.save(trainable, tmp_path, torch.float32, STAMP)
    pipeline = StableDiffusionPipeline.from_pretrained(base, local_files_only=True)
    pipeline.load_lora_weights(tmp_path, weight_name=lora.FILE, local_files_only=True)
    states = pipeline.encode_prompt(["a bird"], "cpu", 1, False)[0]
    with torch.no_grad():
        drawn = pipeline.unet(torch.ones(1, 4, 8, 8), torch.tensor([400]), states).sample
    torch.testing.assert_close(drawn, _answer(trainable.parts), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ["sd"])
def test_what_learns_is_what_was_asked(base, name):
    whole = _learnt(base, "dreambooth", name)
    assert set(whole.modules) == {"unet", "text_encoder"}
    without_text = _train(dreambooth=_train().dreambooth.model_copy(update={"train_text_encoder": False}))
    unet_only = METHODS["dreambooth"].attach(family(name).load(base), without_text, SUBJECT, 1, torch.float32)
    assert all(key.startswith("unet.") for key in unet_only.parameters)
    adapters = METHODS["lora"].attach(family(name).load(base), _train(), SUBJECT, 1, torch.bfloat16)
    assert all("lora_" in key and weight.dtype == torch.float32 for key, weight in adapters.parameters.items())
    assert adapters.parts.unet.conv_in.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["sd"])
def test_the_first_adapters_depend_on_the_seed_and_not_on_global_state(base, name):
    def first(seed: int):
        torch.rand(3)
        before = torch.get_rng_state()
        attached = lora.attach(family(name).load(base), _train(), SUBJECT, seed, torch.float32)
        assert torch.equal(torch.get_rng_state(), before)
        return torch.cat([weight.flatten() for weight in attached.parameters.values()])

    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))


@pytest.mark.parametrize("name", ["sd"])
def test_targets_that_match_no_layer_are_named(base, name):
    with pytest.raises(ParamsError, match="targets has 'to_w', which matches no layer; there are .*to_out.0"):
        _learnt(base, "lora", name, lora={"targets": ("to_q", "to_w")})


def test_an_unknown_method_answers_with_the_nearest():
    with pytest.raises(ParamsError, match="'dreambboth', which is no method; did you mean 'dreambooth'"):
        method("dreambboth")
