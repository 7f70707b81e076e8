import numpy as np
import pytest

from pipeline.io.images import embedding_cache

ROWS = {"b" * 64: np.array([0.5, -0.25], np.float16), "a" * 64: np.array([1, 0], np.float16)}


def test_rows_are_read_as_they_were_written(tmp_path):
    embedding_cache.write(tmp_path / "x.npz", ROWS)
    found = embedding_cache.read(tmp_path / "x.npz")
    assert sorted(found) == sorted(ROWS)
    assert all(np.array_equal(found[name], row) and found[name].dtype == np.float16 for name, row in ROWS.items())


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04broken", b"no archive"])
def test_a_missing_or_damaged_file_holds_none(tmp_path, content):
    if content is not None:
        (tmp_path / "x.npz").write_bytes(content)
    assert embedding_cache.read(tmp_path / "x.npz") == {}


def test_a_cut_file_holds_none(tmp_path):
    embedding_cache.write(tmp_path / "x.npz", ROWS)
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(whole[: len(whole) // 2])
    assert embedding_cache.read(tmp_path / "x.npz") == {}
    (tmp_path / "x.npz").write_bytes(whole[:60] + b"\0" * 40 + whole[100:])
    assert embedding_cache.read(tmp_path / "x.npz") == {}
