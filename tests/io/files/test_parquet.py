from __future__ import annotations

import pandas as pd
import pytest

from pipeline.core.errors import InputError
from pipeline.io.files import parquet


def test_the_same_rows_give_the_same_bytes(tmp_path):
    frame = pd.DataFrame({"name": ["a", "b"], "score": [0.5, None]})
    parquet.write(tmp_path / "one.parquet", frame)
    parquet.write(tmp_path / "two.parquet", frame[frame["name"] != "c"].reset_index(drop=True))
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    pd.testing.assert_frame_equal(parquet.read(tmp_path / "one.parquet"), frame)


def test_a_missing_or_broken_table_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="is missing"):
        parquet.read(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_text("<html>")
    with pytest.raises(InputError, match="is not a parquet table"):
        parquet.read(tmp_path / "bad.parquet")
