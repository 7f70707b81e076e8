"""What is trained, how it is saved, and that it is restored as it was."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file

from pipeline.core.errors import InputError, ParamsError
from pipeline.core.records import Subject
from pipeline.families import family
from pipeline.methods import METHODS, lora_file, method
from tests import tiny_models
from tests.training.world import train_params

SUBJECT = Subject("dodo", "Raphus cucullatus", "bird")
METADATA = {"lineage_id": "abc", "step": "7", "base_digest": "def"}
PROMPT = "Raphus cucullatus"  # placeholder tokens stand for it
BOTH = [(name, kind) for name in ("sd", "sdxl") for kind in METHODS]


def _perturb(trainable, amount: float = 0.05) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in trainable.parameters.values():
            weight.add_(torch.randn(weight.shape, generator=generator) * amount)


@torch.no_grad()
def _predict(components, prompt: str = "a bird") -> torch.Tensor:
    latents = torch.ones(1, 4, 8, 8)
    known = components.family
    return known.predict(components, latents, torch.tensor([400]), known.encode_prompt(components, [PROMPT]))


def _trained(base: Path, kind: str, name: str, **changes):
    components = family(name).load(base)
    trainable = method(kind).attach(components, train_params(**changes), SUBJECT, 1, torch.float32)
    _perturb(trainable)
    return trainable


@pytest.fixture
def base(request, name):
    return request.getfixturevalue(f"{name}_base")


@pytest.mark.parametrize(("name", "kind"), BOTH)
def test_a_snapshot_is_restored_as_it_was(base, name, kind, tmp_path):
    trainable = _trained(base, kind, name, lora={"rank": 4, "alpha": 16})
    method(kind).save(trainable, tmp_path / "snapshot", torch.float32, METADATA)
    back = method(kind).restore(family(name).load(base), tmp_path / "snapshot")
    torch.testing.assert_close(_predict(back), _predict(trainable.components), atol=1e-5, rtol=1e-5)
    learnt = _predict(back, SUBJECT.name)  # placeholder tokens change no other sentence
    assert not torch.allclose(learnt, _predict(family(name).load(base), SUBJECT.name), atol=1e-2)


@pytest.mark.parametrize(("name", "kind"), BOTH)
def test_the_same_weights_give_the_same_bytes_with_metadata_in_the_header(base, name, kind, tmp_path):
    trainable = _trained(base, kind, name)
    files = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        method(kind).save(trainable, folder, torch.float16, METADATA)
        files.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert files[0] == files[1]
    weights = next(path for path in (tmp_path / "a").rglob("*.safetensors") if "vae" not in str(path))
    with safe_open(weights, "pt") as opened:
        assert METADATA.items() <= opened.metadata().items()
    assert str(tmp_path).encode() not in b"".join(files[0].values())


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_a_dreambooth_snapshot_is_a_whole_model(base, name, tmp_path):
    trainable = _trained(base, "dreambooth", name)
    method("dreambooth").save(trainable, tmp_path / "snapshot", torch.float16, METADATA)
    pipeline = DiffusionPipeline.from_pretrained(tmp_path / "snapshot", local_files_only=True)
    assert type(pipeline).__name__ == ("StableDiffusionPipeline" if name == "sd" else "StableDiffusionXLPipeline")
    for part in ("vae", "tokenizer", "scheduler"):
        for path in (base / part).iterdir():
            assert (tmp_path / "snapshot" / part / path.name).read_bytes() == path.read_bytes()
    unet = load_file(tmp_path / "snapshot/unet/diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in unet.values()} == {torch.float16}


@pytest.mark.parametrize("name", ["sd"])
def test_pickles_and_other_variants_are_not_copied(base, name, tmp_path):
    trainable = _trained(base, "dreambooth", name)
    strange = [base / "vae" / "diffusion_pytorch_model.bin", base / "vae" / "diffusion_pytorch_model.fp16.safetensors"]
    for path in strange:
        path.write_bytes(b"x")
    method("dreambooth").save(trainable, tmp_path / "snapshot", torch.float32, METADATA)
    for path in strange:
        path.unlink()
    assert sorted(path.name for path in (tmp_path / "snapshot/vae").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]


@pytest.mark.parametrize("name", ["sd"])
def test_older_names_of_text_encoders_are_kept(base, name, tmp_path):
    """Files of transformers 4 have `text_model.` before every name; tools that read snapshots expect them."""
    trainable = _trained(base, "dreambooth", name)
    stored = base / "text_encoder" / "model.safetensors"
    before = stored.read_bytes()
    from safetensors.torch import save_file

    save_file({f"text_model.{key}": tensor for key, tensor in load_file(stored).items()}, stored)
    try:
        method("dreambooth").save(trainable, tmp_path / "snapshot", torch.float32, METADATA)
        back = family(name).load(tmp_path / "snapshot")
    finally:
        stored.write_bytes(before)
    names = load_file(tmp_path / "snapshot/text_encoder/model.safetensors")
    assert all(key.startswith("text_model.") for key in names)
    assert torch.equal(_predict(back), _predict(trainable.components))


TEXT_TOO = {"train_text_encoder": True}
SMALL = {"rank": 4, "alpha": 16, **TEXT_TOO}
ADAPTERS = ("lora", "lokr", "loha")


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_text_encoders_can_be_trained(base, name, kind, tmp_path):
    trainable = _trained(base, kind, name, **{kind: SMALL})
    assert set(trainable.modules) == {"unet", *family(name).text_encoders}
    assert all(any(key.startswith(f"{folder}.") for key in trainable.parameters) for folder in trainable.modules)
    method(kind).save(trainable, tmp_path, torch.float32, METADATA)
    back = method(kind).restore(family(name).load(base), tmp_path)
    assert torch.equal(_predict(back), _predict(trainable.components))
    before, after = (family(name).encode_prompt(components, [PROMPT]) for components in (family(name).load(base), back))
    assert not torch.allclose(before.states, after.states, atol=1e-3)
    assert str(base).encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file())


@pytest.mark.parametrize(("more"), [{"rslora": True}, {"dora": True}, {"dora": True, "rslora": True}])
@pytest.mark.parametrize("name", ["sd"])
def test_the_variants_of_lora_are_restored(base, name, more, tmp_path):
    """The plain loader must find them in the file: as plain LoRA the same tensors draw something else."""
    trainable = _trained(base, "lora", name, lora={**SMALL, **more})
    method("lora").save(trainable, tmp_path, torch.float32, METADATA)
    pipeline = StableDiffusionPipeline.from_pretrained(base, local_files_only=True)
    pipeline.load_lora_weights(tmp_path, weight_name=lora_file.FILE, local_files_only=True)
    loaded = replace(family(name).load(base), unet=pipeline.unet, text_encoders=(pipeline.text_encoder,))
    assert torch.equal(_predict(loaded), _predict(trainable.components))
    config = pipeline.unet.peft_config["default_0"]
    assert {"rslora": config.use_rslora, "dora": config.use_dora} == {"rslora": False, "dora": False, **more}


@pytest.mark.parametrize("name", ["sd"])
def test_lora_of_text_encoders_has_the_names_of_older_tools(base, name, tmp_path):
    method("lora").save(_trained(base, "lora", name, lora=SMALL), tmp_path, torch.float32, METADATA)
    names = [key for key in load_file(tmp_path / lora_file.FILE) if not key.startswith("unet.")]
    assert names and all(key.startswith("text_encoder.text_model.encoder.layers.") for key in names)


@pytest.mark.parametrize("kind", [kind for kind in METHODS if kind != "textual_inversion"])
@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_the_teacher_predicts_as_the_base_and_changes_nothing(base, name, kind):
    prior = {"kind": "teacher", "weight": 0.3}
    trainable = _trained(base, kind, name, prior=prior, **{kind: SMALL} if kind in ADAPTERS else {})
    before, learning = _predict(trainable.components), list(trainable.parameters)
    with trainable.teacher() as components:
        # A copy lies elsewhere in memory, which can change the order of sums.
        torch.testing.assert_close(_predict(components), _predict(family(name).load(base)), atol=1e-6, rtol=1e-5)
        assert list(trainable.parameters) == learning
    assert torch.equal(_predict(trainable.components), before)


@pytest.mark.parametrize("kind", ["dreambooth", "full"])
@pytest.mark.parametrize("name", ["sd"])
def test_a_copy_of_the_base_is_kept_only_for_a_teacher(base, name, kind):
    for prior in ({"kind": "pictures", "weight": 0.3}, {"kind": "teacher", "weight": 0.0}):
        assert _trained(base, kind, name, prior=prior).teacher is None
    components = family(name).load(base)
    train = train_params(prior={"kind": "teacher", "weight": 0.3})
    with method(kind).attach(components, train, SUBJECT, 1, torch.bfloat16).teacher() as teacher:
        assert teacher.unet.dtype == torch.bfloat16 and components.unet.dtype == torch.float32
        assert not any(weight.requires_grad for weight in teacher.unet.parameters())


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("name", ["sd"])
def test_the_global_random_state_is_not_used(base, name, kind):
    """peft's layers would draw random numbers for a dropout of zero; they must not matter."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    trainable = method(kind).attach(family(name).load(base), train_params(), SUBJECT, 1, torch.float32)
    _predict(trainable.components)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_from_scratch_is_a_function_of_the_seed_and_not_of_the_base(base, name):
    def drawn(seed: int, text: bool = True):
        train = train_params(full={"train_text_encoder": text})
        return method("full").attach(family(name).load(base), train, SUBJECT, seed, torch.float32).components

    assert torch.equal(_predict(drawn(1)), _predict(drawn(1))) and not torch.equal(
        _predict(drawn(1)), _predict(drawn(2))
    )
    known, alone = family(name).load(base), drawn(1, text=False)
    assert not torch.equal(known.unet.conv_in.weight, alone.unet.conv_in.weight)
    for encoder, other in zip(known.text_encoders, alone.text_encoders, strict=True):
        assert torch.equal(encoder.get_input_embeddings().weight, other.get_input_embeddings().weight)
    assert torch.equal(known.vae.encoder.conv_in.weight, alone.vae.encoder.conv_in.weight)


@pytest.mark.parametrize("name", ["sd"])
def test_lora_loads_with_diffusers_and_keeps_its_alpha(base, name, tmp_path):
    trainable = _trained(base, "lora", name, lora={"rank": 4, "alpha": 16})
    method("lora").save(trainable, tmp_path, torch.float32, METADATA)
    pipeline = StableDiffusionPipeline.from_pretrained(base, local_files_only=True)
    pipeline.load_lora_weights(tmp_path, weight_name=lora_file.FILE, local_files_only=True)
    states = pipeline.encode_prompt([PROMPT], "cpu", 1, False)[0]
    with torch.no_grad():
        drawn = pipeline.unet(torch.ones(1, 4, 8, 8), torch.tensor([400]), states).sample
    torch.testing.assert_close(drawn, _predict(trainable.components), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ["sd"])
def test_the_params_decide_what_is_trained(base, name):
    full = _trained(base, "dreambooth", name)
    assert set(full.modules) == {"unet", "text_encoder"}
    without_text = train_params(dreambooth={"train_text_encoder": False})
    unet_only = method("dreambooth").attach(family(name).load(base), without_text, SUBJECT, 1, torch.float32)
    assert all(key.startswith("unet.") for key in unet_only.parameters)
    adapters = method("lora").attach(family(name).load(base), train_params(), SUBJECT, 1, torch.bfloat16)
    assert all("lora_" in key and weight.dtype == torch.float32 for key, weight in adapters.parameters.items())
    assert adapters.components.unet.conv_in.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["sd"])
def test_initial_adapters_depend_on_the_seed_and_not_on_the_global_random_state(base, name):
    def first(seed: int):
        torch.rand(3)
        before = torch.get_rng_state()
        attached = method("lora").attach(family(name).load(base), train_params(), SUBJECT, seed, torch.float32)
        assert torch.equal(torch.get_rng_state(), before)
        return torch.cat([weight.flatten() for weight in attached.parameters.values()])

    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))


WRONG = [
    ("lora", {"targets": ("to_q", "to_w")}, "lora.targets has 'to_w', which matches no layer; there are .*to_out.0"),
    (
        "loha",
        {"text_targets": ("to_q",), **TEXT_TOO},
        "loha.text_targets has 'to_q', which matches no layer; there are fc1, fc2, k_proj, out_proj, q_proj, v_proj",
    ),
    ("lokr", {"targets": ("0",)}, "lokr.targets has '0', which also matches down_blocks.0, a part of many layers"),
    (
        "lora",
        {"rank": 17},
        r"train.lora.rank is 17, but the smallest layer of its targets, unet.down_blocks.*to_q, is "
        "16 x 16; take at most 16",
    ),
    ("loha", {"rank": 40, "targets": ("conv_in",)}, "loha.rank is 40, .* unet.conv_in, is 16 x 36; take at most 16"),
    ("lokr", {"rank": 17, "text_targets": ("fc1",), "targets": ("conv2",), **TEXT_TOO}, "conv2, is 16 x 144; take at"),
    (
        "lora",
        {"rank": 33, "targets": ("time_embedding.linear_2",), **TEXT_TOO},
        "text_encoder.encoder.layers.0.self_attn.q_proj, is 32 x 32; take at most 32",
    ),
    ("lokr", {"factor": 0}, "train.lokr.factor is 0, which divides nothing; take -1"),
]


@pytest.mark.parametrize(("kind", "changes", "message"), WRONG)
@pytest.mark.parametrize("name", ["sd"])
def test_params_that_do_not_fit_the_base_are_refused_before_weights_are_loaded(
    base, name, kind, changes, message, tmp_path
):
    for config in base.glob("*/config.json"):
        (tmp_path / config.parent.name).mkdir()
        shutil.copy(config, tmp_path / config.parent.name)
    train = train_params(**{kind: changes}, method=kind)
    with pytest.raises(ParamsError, match=message):
        method(kind).check(family(name), tmp_path, train)
    method(kind).check(family(name), tmp_path, train_params(method=kind))
    (tmp_path / "unet" / "config.json").unlink()
    with pytest.raises(InputError, match="has no unet/config.json, so it is no whole model"):
        method(kind).check(family(name), tmp_path, train_params(method=kind))


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("name", ["sd"])
def test_the_largest_rank_that_fits_fits(base, name, kind):
    assert _trained(base, kind, name, **{kind: {"rank": 16}}).parameters


FULL = ("dreambooth", "full")


@pytest.mark.parametrize("kind", (*ADAPTERS, *FULL))
@pytest.mark.parametrize(("name", "other"), [("sd", "sdxl"), ("sdxl", "sd")])
def test_a_checkpoint_from_another_family_is_refused(base, name, other, kind, tmp_path, request):
    method(kind).save(_trained(base, kind, name), tmp_path, torch.float32, {**METADATA, "family": name})
    wrong = family(other).load(request.getfixturevalue(f"{other}_base"))
    with pytest.raises(
        InputError, match=f"was trained on the family '{name}', and this base is '{other}'; load it with"
    ):
        method(kind).restore(wrong, tmp_path)


@pytest.mark.parametrize("kind", ADAPTERS)
@pytest.mark.parametrize("name", ["sd"])
def test_a_checkpoint_of_another_width_or_damaged_is_refused(base, name, kind, tmp_path):
    other = tiny_models.write_sd(tmp_path / "other", channels=(24, 32))
    method(kind).save(_trained(other, kind, name), tmp_path, torch.float32, {**METADATA, "family": name})
    with pytest.raises(InputError, match=f"does not fit the base '{base}' .*; load it with the base"):
        method(kind).restore(family(name).load(base), tmp_path)
    path = next(tmp_path.glob("*.safetensors"), tmp_path / "unet" / "adapter_model.safetensors")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=f"{path.name} is missing or damaged"):
        method(kind).restore(family(name).load(base), tmp_path)


def test_an_unknown_method_is_refused_with_the_nearest_name():
    with pytest.raises(ParamsError, match="'dreambboth', which is not known; did you mean 'dreambooth'"):
        method("dreambboth")
