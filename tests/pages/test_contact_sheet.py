import math
import re

import pytest

from pipeline.io.images import thumbnail
from pipeline.pages.contact_sheet import contact_sheet
from tests.browser import CHROMIUM, MISSING, browser
from tests.pictures import scene


def _row(name: str, code: str = "kept", **changed) -> dict:
    kept = code == "kept"
    row = {
        "sha256": name * 8, "source_id": name, "page_url": "", "image_url": "x", "caption": f"caption of {name}",
        "author": "Jane Doe", "licence": "CC0-1.0", "verdict": "keep" if kept else "drop", "code": code, "score": 0.5,
        "sentence": f"sentence about {name}.", "width_px": 300, "height_px": 200, "split": "train" if kept else "",
    }  # fmt: skip
    return {**row, **changed}


def _sheet(*rows: dict, refused: tuple = ()) -> str:
    return contact_sheet("Raphus cucullatus", rows, refused, {row["sha256"]: b"webp" for row in rows})


def test_kept_and_dropped_are_grouped_with_their_reasons():
    wrong = _row("cc", "wrong_class", score=-0.25)
    page = _sheet(_row("aa"), _row("bb", split="holdout"), wrong, _row("dd", "duplicate"))
    assert re.findall(r'<section id="(\w+)">', page) == ["train", "holdout", "wrong_class", "duplicate"]
    assert "sentence about cc." in page and "-0.250" in page and "caption of dd" in page
    assert page.count("data:image/webp;base64,") == 4


def test_the_least_certain_come_first_and_the_nearest_misses_too():
    page = _sheet(_row("sure", score=0.9), _row("hardly", score=0.1), _row("far", "wrong_class", score=-0.9),
                  _row("near", "wrong_class", score=-0.1))  # fmt: skip
    order = [page.index(f"sentence about {name}.") for name in ("hardly", "sure", "near", "far")]
    assert order == sorted(order)


def test_words_from_outside_are_text_and_no_code():
    evil = "<script>alert(1)</script>"
    page = _sheet(_row("aa", caption=evil, author=evil, page_url="javascript:alert(1)", source_id=evil))
    assert "<script>alert" not in page and "javascript:" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_only_web_addresses_become_links():
    assert '<a href="https://example.org/p" rel="noreferrer">' in _sheet(_row("aa", page_url="https://example.org/p"))


def test_nothing_is_loaded_from_anywhere():
    refused = {"source_id": "p", "reason_code": "not_an_image", "reason": "It is an HTML page."}
    page = _sheet(_row("aa"), refused=(refused,))
    assert not re.search(r'(src|href)="(?!data:|#|https://example)', page)
    assert "It is an HTML page." in page


def test_a_picture_that_was_never_seen_has_no_image_and_a_new_code_a_section():
    page = _sheet(_row("aa"), _row("bb", "truncated", score=math.nan), _row("cc", "brand_new"))
    assert '<section id="brand_new">' in page and "Brand new" in page
    assert contact_sheet("x", [_row("bb", "truncated", score=math.nan, width_px=None)], [], {}).count("no picture") == 1


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_it_opens_from_disk_with_every_picture_and_without_the_network(tmp_path):
    rows = [_row(f"p{number}", "kept" if number % 2 else "blurred") for number in range(6)]
    thumbs = {row["sha256"]: thumbnail(scene(number), 256) for number, row in enumerate(rows)}
    (tmp_path / "sheet.html").write_text(contact_sheet("Raphus cucullatus", rows, [], thumbs), encoding="utf-8")
    with browser() as page:
        for width in (1280, 360):
            page.view(width)
            page.go((tmp_path / "sheet.html").as_uri())
            assert [picture["width"] for picture in page.load_pictures()] == [256] * 6
            assert page.run("document.documentElement.scrollWidth") <= width
        assert not page.errors
        assert not [address for address in page.requests if not address.startswith(("file:", "data:"))]
