import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.core.errors import InputError
from pipeline.core.records import Rejection
from pipeline.sources.addresses import AddressesParams
from tests.sources.fake_fetch import in_turn, listed, offers

ROWS = [
    {
        "URL": "https://a.org/1.jpg",
        "License": "CC BY 4.0",
        "author": "Ada",
        "title": "One",
        "caption": "a wing",
        "page_url": "https://a.org/1",
        "id": "first",
        "width": 7,
    },
    {
        "URL": "https://a.org/2.jpg",
        "License": None,
        "author": None,
        "title": None,
        "caption": None,
        "page_url": None,
        "id": None,
        "width": None,
    },
]


def _source(path: str, **more) -> AddressesParams:
    return AddressesParams(kind="addresses", path=path, **more)


def _offers(root: Path, path: str, **more) -> list:
    return listed(_source(path, **more), in_turn(), root=root)


def _write(folder: Path, kind: str) -> str:
    frame = pd.DataFrame(ROWS)
    if kind == "csv":
        frame.to_csv(folder / "list.csv", index=False)
    elif kind == "jsonl":
        (folder / "list.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    else:
        frame.to_parquet(folder / "list.parquet")
    return f"list.{kind}"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_same_table_gives_the_same_candidates(tmp_path, kind):
    (first, content), (second, _) = _offers(tmp_path, _write(tmp_path, kind), licence="cc0", author="Museum")
    assert content is None
    assert (first.source, first.source_id) == (f"addresses:list.{kind}", "first")
    assert (first.image_url, first.page_url) == ("https://a.org/1.jpg", "https://a.org/1")
    assert (first.title, first.caption, first.author) == ("One", "a wing", "Ada")
    assert (first.licence, first.licence_text) == ("CC-BY-4.0", "CC BY 4.0")
    assert (second.source_id, second.author, second.title) == ("https://a.org/2.jpg", "Museum", "")
    assert (second.licence, second.licence_url) == ("CC0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/")


def test_a_text_has_one_address_a_line_and_comments(tmp_path):
    lines = (
        "\ufeff# mine\nhttps://a.org/1.jpg\r\n\n https://a.org/2.jpg  # good\nhttps://a.org/1.jpg\nhttps://a.org/3#x\n"
    )
    (tmp_path / "list.txt").write_bytes(lines.encode())
    offers = _offers(tmp_path, "list.txt", licence="CC-BY-4.0")
    assert [c.image_url for c, _ in offers] == ["https://a.org/1.jpg", "https://a.org/2.jpg", "https://a.org/3#x"]
    assert {c.licence for c, _ in offers} == {"CC-BY-4.0"}


def test_a_licence_never_seen_is_not_replaced_by_that_of_the_list(tmp_path):
    (tmp_path / "list.csv").write_text("url,licence\nhttps://a.org/1.jpg,Mine Alone 1.0\nhttps://a.org/2.jpg,\n")
    (own, _), (other, _) = _offers(tmp_path, "list.csv", licence="House Licence")
    assert (own.licence, own.licence_text) == ("", "Mine Alone 1.0")
    assert other.licence == "House Licence"  # a name of one's own, which params.yaml may accept


@pytest.mark.parametrize("url", ["", "x.jpg", "ftp://a.org/1.jpg", "file:///etc/passwd", "javascript:1"])
def test_what_is_no_address_of_the_web_is_a_row_with_its_line(tmp_path, url):
    (tmp_path / "list.csv").write_text(f"url,title\nhttps://a.org/1.jpg,a\n{url},b\n")
    candidate, refused = _offers(tmp_path, "list.csv")[1]
    assert isinstance(refused, Rejection) and refused.code == "no_address"
    assert refused.sentence == f"Line 3 has {url!r} as its address, not one with http(s)." and not candidate.image_url


def test_addresses_come_once_and_names_are_unique(tmp_path):
    rows = ["id,url", "a,https://a.org/1.jpg", "a,https://a.org/2.jpg", "b,https://a.org/1.jpg"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    assert [c.source_id for c, _ in _offers(tmp_path, "list.csv")] == ["a", "a (line 3)"]


def test_ragged_and_quoted_lines_are_read(tmp_path):
    (tmp_path / "list.csv").write_text(
        'title,url\n"one, ""two""\nthree",https://a.org/1.jpg,more,fields\nalone\n\n', newline=""
    )
    (first, content), (_, refused) = _offers(tmp_path, "list.csv")
    assert first.title == 'one, "two" three' and content is None and refused.code == "no_address"


def test_numbers_and_objects_in_jsonl_are_text(tmp_path):
    (tmp_path / "l.jsonl").write_text('{"url": "https://a.org/1.jpg", "id": 7, "title": null, "author": {"n": 1}}')
    ((candidate, _),) = _offers(tmp_path, "l.jsonl")
    assert (candidate.source_id, candidate.title) == ("7", "")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("gone.csv", None, "the list 'gone.csv' is not there; put it there or correct `path:` in params.yaml"),
        ("list.xlsx", b"x", "the list 'list.xlsx' is none of .txt, .csv, .jsonl, .parquet; save it as one of them"),
        ("list.csv", b"", "'list.csv' has no column 'url' or 'image_url'; it has nothing"),
        ("list.csv", b"link,who\nx,y\n", "'list.csv' has no column 'url' or 'image_url'; it has 'link', 'who'"),
        ("list.csv", b"url\nh\xe9\n", "the list 'list.csv' is no UTF-8 text; save it as UTF-8"),
        ("list.txt", b"\xff\xfeh\x00", "the list 'list.txt' is no UTF-8 text; save it as UTF-8"),
        ("l.jsonl", b'{"url": "x"}\n{"url": \n', "line 2 of 'l.jsonl' is no JSON ("),
        ("l.jsonl", b"[1]\n", "line 1 of 'l.jsonl' is no JSON object such as"),
        ("l.jsonl", b'{"link": 1}\n', "line 1 of 'l.jsonl' has no column 'url' or 'image_url'; it has 'link'"),
        ("l.jsonl", b"[" * 100_000, "line 1 of 'l.jsonl' is no JSON ("),
        ("list.parquet", b"PAR1", "the list 'list.parquet' is no parquet file that can be read ("),
        ("list.csv", b'url\n"' + b"x" * 200_000 + b'"\n', "line 2 of 'list.csv' is no CSV (field larger than"),
    ],
)
def test_a_list_that_cannot_be_read_is_one_sentence(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as failure:
        _offers(tmp_path, name)
    assert str(failure.value).startswith(sentence) and "\n" not in str(failure.value)


def test_a_parquet_without_addresses_is_reported_with_its_columns(tmp_path):
    pd.DataFrame({"link": ["x"]}).to_parquet(tmp_path / "list.parquet")
    with pytest.raises(InputError, match="'list.parquet' has no column 'url' or 'image_url'; it has 'link'"):
        _offers(tmp_path, "list.parquet")


def test_a_folder_is_no_list(tmp_path):
    (tmp_path / "list.csv").mkdir()
    with pytest.raises(InputError, match="'list.csv' is no file"):
        _offers(tmp_path, "list.csv")


def test_lines_before_a_broken_one_are_offered(tmp_path):
    (tmp_path / "l.jsonl").write_text('{"url": "https://a.org/1.jpg"}\n{')
    found = offers(_source("l.jsonl"), in_turn(), tmp_path)
    assert next(found)[0].image_url == "https://a.org/1.jpg"
    with pytest.raises(InputError, match="line 2"):
        next(found)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_hundred_thousand_addresses(tmp_path, kind):
    frame = pd.DataFrame({"url": [f"https://a.org/{n}.jpg" for n in range(100_000)], "licence": "CC BY 4.0"})
    frame.to_csv(tmp_path / "list.csv", index=False) if kind == "csv" else frame.to_parquet(tmp_path / "list.parquet")
    count = sum(candidate.licence == "CC-BY-4.0" for candidate, _ in _offers(tmp_path, f"list.{kind}"))
    assert count == 100_000
