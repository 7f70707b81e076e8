from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.expectations.leaks import near_twins, twins


def _table(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["file_name", "split", "phash", "dhash"])


def _hex(bits: int) -> str:
    return f"{bits:016x}"


def test_a_twin_is_the_same_key_on_the_other_side():
    table = _table(
        *(
            (name, split, "", "")
            for name, split in [("a", "train"), ("b", "train"), ("c", "holdout"), ("d", "holdout"), ("e", "train")]
        )
    )
    found = twins(table, pd.Series(["k", "k", "k", "alone", None]))
    assert found.tolist() == ["c", "c", "a", "", ""]
    assert twins(table.iloc[:2], pd.Series(["k", "k"])).tolist() == ["", ""]


def test_near_twins_need_both_hashes_near():
    far = (1 << 40) - 1
    table = _table(
        ("a", "train", _hex(0), _hex(0)),
        ("b", "holdout", _hex(0b111111), _hex(0xFF)),  # 6 and 8 bits apart: as far as may be
        ("c", "holdout", _hex(0b1111111), _hex(0)),
        ("d", "holdout", _hex(0), _hex(0x1FF)),
        ("e", "train", _hex(far), _hex(far)),
        ("f", "holdout", "", ""),
    )
    assert near_twins(table, 6, 8).tolist() == ["b", "a", "", "", "", ""]
    assert near_twins(table.iloc[:0], 6, 8).tolist() == []


def test_near_twins_are_found_wherever_they_are_among_many():
    rng = np.random.default_rng(3)
    hashes = [_hex(int(bits)) for bits in rng.integers(0, 2**63, 1500)]
    rows = [(f"{n:04d}", "holdout" if n % 5 == 0 else "train", bits, bits) for n, bits in enumerate(hashes)]
    rows[1001] = ("1001", "train", rows[1000][2], rows[1000][3])
    found = near_twins(_table(*rows), 6, 8)
    assert found[found != ""].to_dict() == {1000: "1001", 1001: "1000"}
