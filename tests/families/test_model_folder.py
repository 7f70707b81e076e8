"""A base that is not what it should be: one sentence for each way, before any weight is loaded."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from pipeline.core.errors import InputError
from pipeline.families import check_base, family
from tests import tiny_models

UNET, TEXT = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {"sd": tiny_models.write_sd(folder / "sd"), "sdxl": tiny_models.write_sdxl(folder / "sdxl")}


@pytest.fixture
def base(written, tmp_path) -> Path:
    """A Stable Diffusion that a test may spoil."""
    return shutil.copytree(written["sd"], tmp_path / "base")


@pytest.fixture
def unread(monkeypatch):
    """No weights may be loaded."""
    monkeypatch.setattr(UNet2DConditionModel, "from_pretrained", lambda *_, **__: pytest.fail("was loaded"))


def _change(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _refused(base: Path, sentence: str, name: str = "sd") -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        family(name).load(base)
    with pytest.raises(InputError, match=sentence):
        check_base(base, name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_a_complete_model_is_accepted(written, unread, name):
    check_base(written[name], name)


@pytest.mark.parametrize("missing", ["unet", "vae", "text_encoder", "tokenizer"])
def test_a_missing_component_is_named(base, unread, missing):
    shutil.rmtree(base / missing)
    _refused(base, f"has no {missing}/.*, so it is no whole model; download it again")


def test_a_missing_scheduler_is_named(base):
    shutil.rmtree(base / "scheduler")
    with pytest.raises(InputError, match="has no scheduler/scheduler_config.json, so it is no whole model"):
        family("sd").load(base)


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path):
    _refused(tmp_path, "has no model_index.json, so it is no whole model")


def test_a_tokenizer_without_vocabulary_is_refused(base, unread):
    for name in ("vocab.json", "tokenizer.json"):
        (base / "tokenizer" / name).unlink(missing_ok=True)
    _refused(base, "has no tokenizer/vocab.json")


@pytest.mark.parametrize(("name", "other"), [("sd", "sdxl"), ("sdxl", "sd")])
def test_a_base_of_another_family_is_recognised_by_its_components(written, unread, name, other):
    found = "Stable Diffusion XL" if name == "sdxl" else "Stable Diffusion 1.x or 2.x"
    _refused(written[name], f"is a {found}, not a .*; set base.family to {name}$", other)


def test_a_model_of_no_family_is_refused(base, unread):
    _change(base / "model_index.json", _class_name="FluxPipeline", unet=None, transformer=["diffusers", "Flux"])
    _refused(base, r"is a FluxPipeline, which is of no family that is known here \(sd, sdxl\)")


def test_a_pipeline_without_its_first_text_encoder_is_refused(written, tmp_path, unread):
    """As the refiner of SDXL, which continues pictures."""
    base = shutil.copytree(written["sdxl"], tmp_path / "refiner")
    _change(base / "model_index.json", text_encoder=[None, None])
    _refused(base, "has no text_encoder by its model_index.json, so it is no whole Stable Diffusion XL", "sdxl")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"in_channels": 9}, "UNet that reads 9 channels, being made for inpainting, but its VAE has 4"),
        ({"in_channels": 5}, "reads 5 channels, being made for pictures from depth"),
        ({"in_channels": 7}, "reads 7 channels, but its VAE has 4; take the model for text to image"),
        ({"out_channels": 8}, "writes 8 channels, but its VAE has 4"),
    ],
)
def test_a_unet_with_other_channels_is_refused(base, unread, change, sentence):
    _change(base / "unet/config.json", **change)
    _refused(base, sentence)


@pytest.mark.parametrize("path", [UNET, TEXT, "vae/diffusion_pytorch_model.safetensors"])
@pytest.mark.parametrize(
    ("instead", "sentence"),
    [
        (
            "pytorch_model.bin",
            "has its weights as pytorch_model.bin only, a pickle that could run any program; download",
        ),
        ("model.ckpt", "has its weights as model.ckpt only, a pickle"),
        ("{stem}.fp16.safetensors", "the variant .*fp16.safetensors only; rename it to .*[ml].safetensors"),
        ("readme.txt", "so its weights are missing; download the model again"),
    ],
)
def test_weights_that_are_no_safetensors_are_refused(base, unread, path, instead, sentence):
    weights = base / path
    weights.rename(weights.with_name(instead.format(stem=weights.stem)))
    _refused(base, sentence)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda whole: whole[: len(whole) // 2], "is damaged or no safetensors .*; download it again"),
        (lambda _: b"<html>not found</html>", "is damaged or no safetensors"),
        (lambda _: b"", "is damaged or no safetensors"),
        (lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a pointer of Git LFS"),
    ],
)
def test_damaged_weights_are_refused(base, unread, content, sentence):
    (base / TEXT).write_bytes(content((base / TEXT).read_bytes()))
    _refused(base, f"text_encoder/model.safetensors' {sentence}")


def test_a_missing_file_of_sharded_weights_is_named(base, unread):
    index = {"weight_map": {"conv_in.weight": "a-00001-of-00002.safetensors"}}
    (base / UNET).with_name("diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    (base / UNET).unlink()
    _refused(base, "a-00001-of-00002.safetensors' is missing; download the model again")


@pytest.mark.parametrize("path", [UNET, TEXT])
def test_weights_that_lack_a_layer_are_refused(base, path):
    """Both libraries would go on with random numbers in its place."""
    tensors = load_file(base / path)
    lacking = [sorted(tensors)[0], sorted(tensors)[7]]
    save_file({key: tensor for key, tensor in tensors.items() if key not in lacking}, base / path, {"format": "pt"})
    with pytest.raises(InputError, match=f"lacks the weights {lacking[0]} and 1 more; download it again"):
        family("sd").load(base)


@pytest.mark.parametrize("path", [UNET, TEXT])
def test_weights_of_another_shape_are_refused(base, path):
    tensors = load_file(base / path)
    save_file(tensors | {sorted(tensors)[0]: torch.zeros(3, 3)}, base / path, {"format": "pt"})
    with pytest.raises(InputError, match="cannot be loaded .*download it again"):
        family("sd").load(base)


@pytest.mark.parametrize("name", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"])
def test_a_damaged_config_is_named(base, name):
    (base / name).write_text("{")
    with pytest.raises(InputError, match=f"has a {name} that is no JSON .*; download it again"):
        family("sd").load(base)


@pytest.mark.parametrize("link", ["unet/diffusion_pytorch_model.safetensors", "vae/config.json", "notes.txt", "extra"])
def test_a_link_out_of_the_folder_is_refused(base, unread, tmp_path, link):
    """A full fine-tuning would copy what it leads to into its snapshots."""
    outside = tmp_path / "outside"
    outside.mkdir()
    if (base / link).exists():
        (base / link).rename(outside / "file")
    (base / link).symlink_to(outside / "file" if (outside / "file").exists() else outside)
    _refused(base, f"has '{link}', a symbolic link to '.*outside.*' outside of the folder; .*copy the folder")


def test_links_within_the_folder_and_to_the_folder_are_followed(base, unread, tmp_path):
    (base / UNET).rename(base / "unet/weights")
    (base / UNET).symlink_to("weights")
    (tmp_path / "named").symlink_to(base)
    check_base(tmp_path / "named", "sd")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"scheduler": ["my_code", "Scheduler"]}, r"names \['my_code', 'Scheduler'\] for 'scheduler', which is no"),
        ({"unet": ["diffusers", "os.system"]}, "names .* for 'unet', which is no class of diffusers or transformers"),
        ({"unet": ["diffusers"]}, "for 'unet', which is no class"),
        ({"unet": []}, "for 'unet', which is no class"),
        ({"unet": [None, "UNet2DConditionModel"]}, "for 'unet', which is no class"),
        ({"../../outside": ["diffusers", "UNet2DConditionModel"]}, "for '../../outside', which is no class"),
        ({"_class_name": ["pipeline", "Mine"]}, r"names \['pipeline', 'Mine'\] for its pipeline"),
        ({"text_encoder_9": ["transformers", "CLIPTextModel"]}, "no text_encoder_9, which its model_index.json names"),
    ],
)
def test_a_model_index_that_names_other_code_or_what_is_not_there_is_refused(base, unread, change, sentence):
    """A full fine-tuning hands it on to whoever loads its snapshots, after hours."""
    _change(base / "model_index.json", **change)
    _refused(base, sentence)


def test_components_that_no_training_uses_may_be_missing(base, unread):
    classes = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    _change(base / "model_index.json", **classes, feature_extractor=["transformers", "CLIPImageProcessor"])
    check_base(base, "sd")


@pytest.mark.parametrize("name", ["model_index.json", "unet/config.json"])
def test_a_config_that_is_no_object_is_named(base, unread, name):
    (base / name).write_text("[1]")
    _refused(base, f"has a {name} that is no JSON object")


@pytest.mark.parametrize("weight_map", [{"a": "../../x.safetensors"}, {"a": 1}, {"a": "weights.bin"}, [], None])
def test_an_index_of_weights_names_files_beside_it_only(base, unread, weight_map):
    index = (base / UNET).with_name("diffusion_pytorch_model.safetensors.index.json")
    index.write_text(json.dumps({"weight_map": weight_map}))
    (base / UNET).unlink()
    _refused(base, "whose weight_map is not of names of files beside it; download it again")
