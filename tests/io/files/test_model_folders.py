"""Model folders that are none."""

import pytest

from pipeline.core.errors import InputError
from pipeline.io.files.model_folders import model_folder


def test_a_folder_with_its_marker_is_taken(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base/model_index.json").write_text("{}")
    assert model_folder(tmp_path, "base") == tmp_path / "base"


@pytest.mark.parametrize("name", ["sd15.ckpt", "sd15.safetensors"])
def test_a_single_file_is_told_from_a_folder_and_how_to_make_one(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=f"'{name}' is a single file, but a folder is needed; make one with diffusers"):
        model_folder(tmp_path, name)


def test_what_is_not_there_or_no_model_is_named(tmp_path):
    with pytest.raises(InputError, match="the base model folder 'base' is not there; download it or mend `base:`"):
        model_folder(tmp_path, "base")
    (tmp_path / "base").mkdir()
    with pytest.raises(InputError, match="'base' has no model_index.json, so it is no model folder"):
        model_folder(tmp_path, "base")
    with pytest.raises(InputError, match="'base' has no config.json, so it is no model folder"):
        model_folder(tmp_path, "base", marker="config.json")
