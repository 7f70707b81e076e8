"""Captions by a random model in the layout of a real BLIP."""

import json
import shutil

import pytest

from pipeline.core.errors import InputError
from pipeline.vision import captioner
from tests.pictures import scene
from tests.tiny_captioner import write_captioner


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_captioner(tmp_path_factory.mktemp("blip"))


def test_a_picture_gets_a_caption_and_always_the_same(folder):
    model = captioner.load(folder)
    first = captioner.caption_images(model, [scene(1)])
    assert isinstance(first[0], str) and first[0].split()
    assert captioner.caption_images(captioner.load(folder), [scene(1)]) == first
    assert captioner.caption_images(model, [scene(1), scene(2)])[0] == first[0]


def _other_model(folder):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"model_type": "git"}))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "has no preprocessor_config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "no BLIP model that can be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "is damaged or no safetensors"),
        (_other_model, "model_type 'git'"),
    ],
)
def test_a_damaged_model_is_refused_in_one_sentence(folder, tmp_path, spoil, sentence):
    copy = shutil.copytree(folder, tmp_path / "blip")
    spoil(copy)
    with pytest.raises(InputError, match=sentence):
        captioner.load(copy)
