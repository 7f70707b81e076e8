from __future__ import annotations

import pytest

from pipeline.core.errors import InputError
from pipeline.io.files import atomic_write


def test_a_finished_folder_replaces_the_old_one_whole(tmp_path):
    final = tmp_path / "deep" / "out"
    for text in ("one", "two"):
        with atomic_write.fresh_folder(final) as folder:
            (folder / text).write_text(text)
    assert [path.name for path in final.iterdir()] == ["two"]
    assert [path.name for path in final.parent.iterdir()] == ["out"]


def test_a_failure_leaves_the_earlier_result_and_no_litter(tmp_path):
    final = tmp_path / "out"
    with atomic_write.fresh_folder(final) as folder:
        (folder / "good").write_text("")
    with pytest.raises(RuntimeError), atomic_write.fresh_folder(final):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in final.iterdir()] == ["good"]


def test_an_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to"), atomic_write.fresh_folder(tmp_path / "file" / "out"):
        pass


def test_an_unfinished_folder_has_no_card(tmp_path):
    with pytest.raises(InputError, match=r"card\.json is missing"):
        atomic_write.read_card(tmp_path)
    atomic_write.write_card(tmp_path, stage="x", n=1)
    assert atomic_write.read_card(tmp_path) == {"stage": "x", "n": 1}
