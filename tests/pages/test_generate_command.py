"""The command of "Draw it again" has everything that decides the picture."""

from __future__ import annotations

import shlex

import pytest

from pipeline.pages.gallery.generate_command import generate_command

ROW = {
    "prompt": 'the dodo\'s nest, "at sea" $HOME `id`',
    "seed": 3,
    "step": 250,
    "sampler": "Euler a",
    "steps": 20,
    "guidance_scale": 7.5,
    "width_px": 96,
    "height_px": 64,
    "negative_prompt": "",
}


def test_every_setting_of_the_picture_is_written():
    row = ROW | {"negative_prompt": "blurred; it's a photo"}
    words = shlex.split(generate_command("dodo", row, chosen=True))
    assert words[:4] == ["paleo", "generate", "dodo", ROW["prompt"]]
    assert dict(zip(words[4::2], words[5::2], strict=True)) == {
        "--seed": "3",
        "--steps": "20",
        "--guidance": "7.5",
        "--sampler": "Euler a",
        "--width": "96",
        "--height": "64",
        "--negative-prompt": "blurred; it's a photo",
    }


def test_a_snapshot_that_was_not_chosen_is_named():
    assert "--step" not in shlex.split(generate_command("dodo", ROW, chosen=True))
    assert shlex.split(generate_command("dodo", ROW, chosen=False))[-2:] == ["--step", "250"]
    assert "--negative-prompt" not in generate_command("dodo", ROW, chosen=False)


def test_the_base_model_has_no_command():
    assert generate_command("dodo", ROW | {"step": 0}, chosen=False) == ""
    assert generate_command("dodo", ROW | {"step": 0}, chosen=True) == ""


@pytest.mark.parametrize(("scale", "text"), [(3.0, "3"), (7.5, "7.5"), (1 / 3, repr(1 / 3))])
def test_the_guidance_is_read_as_the_same_number(scale, text):
    words = shlex.split(generate_command("dodo", ROW | {"guidance_scale": scale}, chosen=True))
    assert words[words.index("--guidance") + 1] == text
    assert float(text) == scale
