from __future__ import annotations

import math
import re

import pytest

from pipeline.io.files.atomic_write import write_bytes, write_text
from pipeline.io.images.codecs import thumbnail
from pipeline.pages.contact_sheet import CARDS, REFUSED, contact_sheet
from tests.browser import CHROMIUM, MISSING, browser
from tests.pictures import scene
from tests.verdict_rows import CODES, refused, row, sha, verdicts


def _sheet(*rows: dict, never: tuple = ()) -> str:
    return contact_sheet("Raphus cucullatus", verdicts(*rows), never, CODES)


def test_kept_and_dropped_are_grouped_with_their_reasons():
    wrong = row("cc", "wrong_class", score=-0.25)
    page = _sheet(row("aa"), row("bb", split="holdout"), wrong, row("dd", "duplicate"))
    assert re.findall(r'<section id="(\w+)">', page) == ["train", "holdout", "wrong_class", "duplicate"]
    assert "sentence about cc." in page and "-0.250" in page and "caption of dd" in page
    assert re.findall(r'src="(thumbs/[^"]+)"', page) == [
        f"thumbs/{sha(name)}.webp" for name in ("aa", "bb", "cc", "dd")
    ]


def test_the_least_certain_come_first_and_the_nearest_misses_too():
    page = _sheet(
        row("sure", score=0.9),
        row("hardly", score=0.1),
        row("asked", score=0.95, uncertain="may be a copy"),
        row("far", "wrong_class", score=-0.9),
        row("near", "wrong_class", score=-0.1),
    )
    order = [page.index(f"sentence about {name}.") for name in ("asked", "hardly", "sure", "near", "far")]
    assert order == sorted(order)
    assert "may be a copy" in page


def test_what_a_person_decided_says_so():
    assert "decided by a person" in _sheet(row("aa", decided_by="review"))
    assert "decided by a person" not in _sheet(row("aa"))


def test_words_from_outside_are_text_and_no_code():
    evil = "<script>alert(1)</script>"
    page = _sheet(row("aa", caption=evil, author=evil, page_url="javascript:alert(1)", source_id=evil))
    assert "<script>alert" not in page and "javascript:" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_only_web_addresses_become_links():
    assert '<a href="https://example.org/aa" rel="noreferrer">' in _sheet(row("aa"))
    assert 'href="ftp' not in _sheet(row("aa", page_url="ftp://example.org/aa"))


def test_nothing_is_loaded_from_anywhere():
    page = _sheet(row("aa"), never=(refused("p", "not_an_image"),))
    assert not re.search(r'(src|href)="(?!data:|#|thumbs/|index.html|https://example)', page)
    assert "reason of p." in page and "not_an_image" in page


def test_a_picture_that_was_never_seen_has_no_image_and_a_new_code_a_section():
    unseen = row("bb", "truncated", score=math.nan, width_px=None, height_px=None)
    page = _sheet(row("aa"), unseen, row("cc", "brand_new"))
    assert '<section id="brand_new">' in page and "Brand new" in page
    assert page.count("no picture") == 1 and f"thumbs/{sha('bb')}" not in page


def test_a_large_set_is_cut_with_a_word_about_the_rest():
    rows = [row(f"p{number}", "blurred") for number in range(CARDS + 7)]
    page = _sheet(row("aa"), *rows, never=tuple(refused(f"r{number}", "gone") for number in range(REFUSED + 9)))
    assert page.count("<figure>") == CARDS + 1 and f"Blurred {CARDS + 7}" in page
    assert "the other 7 are in <code>verdicts.parquet</code>" in page
    assert page.count('<th scope="row">') == REFUSED and "the other 9 are in <code>manifest.parquet</code>" in page


def test_nothing_stored_at_all_is_a_page_too():
    assert "reason of p." in contact_sheet("x", [], [refused("p", "gone")], CODES)


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_it_opens_from_disk_with_every_picture_and_without_the_network(tmp_path):
    rows = [row(f"p{number}", "kept" if number % 2 else "blurred") for number in range(6)]
    for number, given in enumerate(rows):
        write_bytes(tmp_path / f"thumbs/{given['sha256']}.webp", thumbnail(scene(number), 256))
    write_text(tmp_path / "sheet.html", _sheet(*rows))
    with browser() as page:
        for width in (1280, 360):
            page.view(width)
            page.go((tmp_path / "sheet.html").as_uri())
            assert [picture["width"] for picture in page.load_pictures()] == [256] * 6
            assert page.run("document.documentElement.scrollWidth") <= width
        assert not page.errors
        assert not [address for address in page.requests if not address.startswith(("file:", "data:"))]


def test_it_leads_back_to_the_gallery():
    page = contact_sheet("x", [], [refused("p", "gone")], CODES, gallery="../../../site/x/index.html")
    assert '<a href="../../../site/x/index.html">gallery</a>' in page
