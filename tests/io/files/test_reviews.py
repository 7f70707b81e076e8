from __future__ import annotations

import pytest

from pipeline.core.errors import InputError
from pipeline.io.files import reviews

A, B = "a" * 64, "b" * 64
HEADER = "sha256,verdict,why,who,when\n"


def _file(tmp_path, text: str | bytes):
    path = tmp_path / "dodo.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_what_is_written_is_read_again_and_sorted(tmp_path):
    given = reviews.read(
        _file(tmp_path, f'{HEADER}{B},drop,"a bird, not ""it""",Ada,2026-03-01T10:20:30Z\n{A},keep,,,\n')
    )
    reviews.write(tmp_path / "again.csv", given)
    assert (tmp_path / "again.csv").read_text() == (
        f'{HEADER}{A},keep,,,\n{B},drop,"a bird, not ""it""",Ada,2026-03-01T10:20:30Z\n'
    )
    assert reviews.read(tmp_path / "again.csv").to_dict("list") == {
        "sha256": [A, B],
        "verdict": ["keep", "drop"],
        "why": ["", 'a bird, not "it"'],
        "who": ["", "Ada"],
        "when": ["", "2026-03-01T10:20:30Z"],
    }


def test_no_file_is_no_reviews_with_all_columns(tmp_path):
    empty = reviews.read(tmp_path / "none.csv")
    assert len(empty) == 0 and list(empty.columns) == reviews.COLUMNS
    reviews.write(tmp_path / "empty.csv", empty)
    assert (tmp_path / "empty.csv").read_text() == HEADER
    assert len(reviews.read(tmp_path / "empty.csv")) == 0


def test_a_spreadsheet_may_have_saved_it(tmp_path):
    text = f"\ufeff{HEADER}{A.upper()},Keep,why not,Ada,2026-03-01\n\n{B},drop,,,\n".replace("\n", "\r\n")
    read = reviews.read(_file(tmp_path, text))
    assert list(read["sha256"]) == [A, B] and list(read["verdict"]) == ["keep", "drop"]


def test_the_later_verdict_stands_whatever_the_order_and_the_time_zone(tmp_path):
    lines = (f"{A},keep,,Ada,2026-03-01T11:00:00+02:00", f"{A},drop,,Bob,2026-03-01T09:30:00Z", f"{A},keep,,Eve,")
    for order in (lines, lines[::-1]):
        assert list(reviews.read(_file(tmp_path, HEADER + "\n".join(order)))["who"]) == ["Bob"]


def test_merging_keeps_what_only_one_side_has_and_the_second_wins_a_tie(tmp_path):
    ours = reviews.read(_file(tmp_path, f"{HEADER}{A},keep,old,Ada,2026-03-01\n{B},keep,,Ada,2026-03-05\n"))
    theirs = reviews.read(_file(tmp_path, f"{HEADER}{A},drop,new,Bob,2026-03-01\n{B},drop,,Bob,2026-03-04\n"))
    assert list(reviews.merge(ours, theirs)["verdict"]) == ["drop", "keep"]
    assert reviews.merge(ours, reviews.read(tmp_path / "none.csv")).equals(ours)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the columns are ''"),
        ("picture;verdict\n", "line 1: the columns are 'picture;verdict'"),
        (f"{HEADER}{A},keep,,,\n{B},maybe,,,\n", "line 3: the verdict is 'maybe', it must be keep or drop"),
        (f"{HEADER}xyz,keep,,,\n", "line 2: 'xyz' is no sha256"),
        (f"{HEADER}{A},keep\n", "line 2: 2 fields instead of 5"),
        (f"{HEADER}{A},keep,,,yesterday\n", "line 2: 'yesterday' is no time"),
        (f"{HEADER}<<<<<<< HEAD\n", "line 2: 1 fields instead of 5"),
        (f'{HEADER}{A},keep,"never closed,,\n', "line 2: unexpected end of data"),
        (f"{HEADER}{A},keep,\x00,,\n".encode() + b"\xff\xfe", "is no UTF-8 text"),
    ],
)
def test_a_bad_line_is_one_sentence_with_its_number(tmp_path, text, message):
    with pytest.raises(InputError) as error:
        reviews.read(_file(tmp_path, text))
    assert message in str(error.value) and "dodo.csv" in str(error.value) and "\n" not in str(error.value)


def test_a_folder_in_its_place_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        reviews.read(tmp_path)
