"""CLIP's preprocessing and vectors, with a random model in the layout of a real one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from pipeline.core.errors import InputError
from pipeline.vision import clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 16,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "image_size": 32,
        "patch_size": 8,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).half().save_pretrained(folder)
    settings = {"size": 32, "crop_size": 32, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def _tokenizer() -> CLIPTokenizer:
    letters = [letter + end for letter in "abdefghiorst" for end in ("", "</w>")]
    words = [*letters, "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: index for index, word in enumerate(words)}, merges=[], model_max_length=16)


def picture(width_px: int, height_px: int, mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(width_px).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def test_rows_have_length_one_and_do_not_depend_on_the_batch(folder):
    loaded = clip.load(folder)
    images = [picture(40, 64), picture(300, 32, "L"), picture(32, 32, "RGBA")]
    rows = clip.embed_images(loaded, images)
    assert rows.shape == (3, 24) and rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.allclose(clip.embed_images(loaded, images, batch_size=1), rows, atol=1e-5)


def test_half_precision_files_are_computed_in_full_precision(folder):
    assert clip.load(folder).model.dtype is torch.float32


def test_texts_longer_than_the_context_are_cut(folder):
    assert clip.embed_texts(clip.load(folder), ["a bird", "bird " * 60]).shape == (2, 24)


def test_no_pictures_and_no_texts_give_no_rows(folder):
    loaded = clip.load(folder)
    assert clip.embed_images(loaded, []).shape == clip.embed_texts(loaded, []).shape == (0, 24)


def test_zero_shot_is_a_distribution_over_the_classes(folder):
    odds = clip.zero_shot(clip.load(folder), [picture(32, 32)] * 2, {"bird": ["a bird", "birds"], "dog": ["a dog"]})
    assert odds.shape == (2, 2)
    assert np.allclose(odds.sum(axis=1), 1)


@pytest.mark.parametrize("size_px", [(32, 32), (64, 32), (33, 100), (500, 301), (20, 20)])
def test_pictures_of_any_size_are_cropped(folder, size_px):
    square = clip.resize_and_crop(picture(*size_px), clip.load(folder).preprocessing)
    assert square.shape == (3, 32, 32)
    assert square.min() >= 0 and square.max() <= 1


def test_both_layouts_of_the_preprocessor_config():
    old = clip.parse_preprocessing({"size": 224, "crop_size": 224})
    new = clip.parse_preprocessing({"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}})
    assert old == new == clip.Preprocessing(224, 224, clip.OPENAI_MEAN, clip.OPENAI_STD)


def test_preprocessing_is_close_to_the_processor_of_transformers(folder):
    from transformers import CLIPImageProcessorPil

    image = picture(90, 64).resize((270, 192), Image.Resampling.BICUBIC)
    theirs = CLIPImageProcessorPil.from_pretrained(folder)(image, return_tensors="pt").pixel_values
    ours = clip.preprocess([image], clip.load(folder).preprocessing)
    assert (ours - theirs).abs().mean() < 0.02  # theirs rounds to 8 bits on the way


def test_a_folder_that_is_no_clip_is_refused_with_what_is_missing(tmp_path):
    with pytest.raises(InputError, match="has no config.json"):
        clip.load(tmp_path)


def _as_pickle(clip_folder: Path) -> None:
    torch.save(load_file(clip_folder / "model.safetensors"), clip_folder / "pytorch_model.bin")
    (clip_folder / "model.safetensors").unlink()


def _cut(clip_folder: Path) -> None:
    weights = clip_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _without_a_layer(clip_folder: Path) -> None:
    weights = load_file(clip_folder / "model.safetensors")
    weights.pop("visual_projection.weight")
    save_file(weights, clip_folder / "model.safetensors", {"format": "pt"})


def _linked(clip_folder: Path) -> None:
    outside = clip_folder.parent / "elsewhere.safetensors"
    (clip_folder / "model.safetensors").rename(outside)
    (clip_folder / "model.safetensors").symlink_to(outside)


def _preprocess(text: str):
    return lambda clip_folder: (clip_folder / "preprocessor_config.json").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_as_pickle, "has its weights as pytorch_model.bin only, a pickle that could run any program"),
        (_cut, "model.safetensors' is damaged or no safetensors"),
        (_without_a_layer, "no CLIP that can be loaded: it lacks the weights visual_projection.weight"),
        (_linked, "has 'model.safetensors', a symbolic link to '.*elsewhere.safetensors' outside of the folder; where"),
        (lambda copy: (copy / "config.json").write_text("[]"), "has a config.json that is no JSON object"),
        (lambda copy: (copy / "config.json").write_text('{"model_type": "blip"}'), "says model_type 'blip'"),
        (_preprocess("{"), "has a preprocessor_config.json that is no JSON"),
        (_preprocess('{"size": {}}'), "no CLIP that can be loaded"),
        (_preprocess('{"size": [224]}'), "no CLIP that can be loaded"),
    ],
)
def test_a_folder_is_checked_as_a_base_model_is(folder, tmp_path, spoil, sentence):
    copy = shutil.copytree(folder, tmp_path / "clip")
    spoil(copy)
    with pytest.raises(InputError, match=sentence) as caught:
        clip.load(copy)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_vocabulary_is_refused(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "clip"))
    for name in ("vocab.json", "merges.txt", "tokenizer.json"):
        (copy / name).unlink(missing_ok=True)
    with pytest.raises(InputError, match="has no vocab.json"):
        clip.load(copy)
