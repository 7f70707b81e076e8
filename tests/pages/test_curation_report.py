from __future__ import annotations

import re

import pandas as pd
import pytest

from pipeline.io.files.atomic_write import write_bytes, write_text
from pipeline.io.images.codecs import thumbnail
from pipeline.pages.curation_report import DOTS, SWATCHES, curation_report
from tests.browser import CHROMIUM, MISSING, browser
from tests.pictures import scene
from tests.verdict_rows import CODES, manifest, refused, row, sha, verdicts

NAN = float("nan")
UNSEEN = {"width_px": None, "height_px": None, "map_x": NAN, "map_y": NAN, "lightness": NAN, "clip_class": ""}
CARD = {"digest": "f" * 64}


def _mixed() -> pd.DataFrame:
    return verdicts(
        row("a", author="Ada", map_x=-1.0),
        row("b", author="Ada", split="holdout", map_y=2.0),
        row("c", author="Bob", licence="CC-BY-4.0", saturation=0.01),
        row("d", "wrong_class", clip_class="bat"),
        row("e", "duplicate"),
        row("f", "truncated", **UNSEEN),
        row("g", "brand_new"),
        row("h", "reviewed", decided_by="review", label="drop", sentence="Ada said: a bird."),
        row("i", "too_small", width_px=40, height_px=40),
        row("j", source="commons", uncertain="may be a copy"),
    )


def _report(stored: pd.DataFrame, *never: dict) -> str:
    return curation_report("Raphus cucullatus", stored, manifest(stored, *never), CARD, CODES)


def _table(page: str, kind: str) -> dict[str, list[str]]:
    """The cells of a table as text by the head of their row."""
    body = re.search(rf'<table class="plain {kind}">.*?<tbody>(.*?)</tbody>', page, re.DOTALL).group(1)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.DOTALL) for line in body.split("</tr>")]
    plain = [[" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in cells] for cells in rows if cells]
    return {cells[0]: cells[1:] for cells in plain}


def test_the_funnel_accounts_for_every_candidate():
    never = (refused("x", "licence_missing"), refused("y", "licence_refused"), refused("z", "too_slow"))
    funnel = _table(_report(_mixed(), *never), "funnel")
    assert {step: cells[:2] for step, cells in funnel.items()} == {
        "candidates": ["13", ""],
        "with a licence that is allowed": ["11", "−2"],
        "each file once": ["11", "0"],
        "stored": ["10", "−1"],
        "decoded": ["9", "−1"],
        "large enough, not too long": ["8", "−1"],
        "not destroyed": ["8", "0"],
        "with something to see": ["8", "0"],
        "of the animal alive": ["7", "−1"],
        "each picture once": ["6", "−1"],
        "the best of each series": ["6", "0"],
        "not dropped as brand new": ["5", "−1"],
        "approved by people": ["4", "−1"],
        "kept": ["4", ""],
    }


def test_every_reason_has_its_number_and_a_sentence_and_leads_to_the_contact_sheet():
    page = _report(_mixed(), refused("x", "licence_missing"))
    reasons = _table(page, "reasons")
    assert reasons["Shows something else wrong_class"][0] == "1"
    assert reasons["Dropped by people reviewed"][-1] == "Ada said: a bird."
    assert reasons["Licence missing licence_missing"][-1] == "reason of x."
    assert 'href="contact_sheet.html#duplicate"' in page and 'href="contact_sheet.html#refused"' in page


def test_sources_say_what_became_of_their_candidates():
    page = _report(_mixed(), refused("x", "too_slow", source="commons"))
    sources = _table(page, "sources")
    assert sources["commons"][:4] == ["2", "1", "0", "1"]
    assert sources["folder"][:4] == ["9", "3", "6", "0"]


def test_an_author_of_more_than_two_fifths_is_pointed_out_and_an_unknown_one_is_not():
    assert "Ada made 50 % of the kept pictures" in _report(_mixed())
    assert "note warn" not in _report(verdicts(*(row(f"p{n}", author="") for n in range(4))))
    fair = _report(verdicts(*(row(f"p{n}", author=f"author {n}") for n in range(30))))
    assert "note warn" not in fair and "20 others" in fair


def test_colours_and_map_leave_out_what_has_none():
    page = _report(_mixed())
    assert "3 pictures with a mean hue, 1 almost grey" in page
    assert "9 pictures in the plane" in page and f"thumbs/{sha('f')}" not in page


def test_without_a_single_kept_or_decoded_picture_it_is_a_page_too():
    for frame in (verdicts(row("f", "truncated", **UNSEEN)), verdicts().astype({"score": "float64"})):
        page = _report(frame, refused("x", "licence_missing"))
        assert "No picture was kept." in page and "There is no map" in page and "CLIP was not asked" in page


def test_words_from_outside_are_text_and_no_code():
    evil = "</title><script>alert(1)</script>"
    words = dict.fromkeys(("author", "licence", "source", "source_id", "sentence", "clip_class", "code"), evil)
    page = _report(verdicts(row("a", **words), row("b", **{**words, "verdict": "drop", "split": ""})))
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page


def test_any_number_of_pictures_makes_a_page_of_bounded_size():
    one = verdicts(row("a", author="Ada"), row("b", "wrong_class"))
    many = one.take([0, 1] * 20_000).reset_index(drop=True)
    place = pd.Series(range(len(many)))
    many = many.assign(
        sha256=place.map("{:064x}".format), map_x=place % 199, map_y=place % 211 * 1.0, hue_deg=place % 360
    )
    page = _report(many)
    assert len(page) < 2_000_000
    assert f"{DOTS} of 40000 are shown" in page and page.count("<span style=") <= SWATCHES
    assert _table(page, "funnel")["kept"][0] == "20000"


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_it_opens_from_disk_with_every_picture_and_without_the_network(tmp_path):
    write_text(tmp_path / "index.html", _report(_mixed(), refused("x", "licence_missing")))
    for number, sha256 in enumerate(_mixed()["sha256"]):
        write_bytes(tmp_path / f"thumbs/{sha256}.webp", thumbnail(scene(number), 256))
    with browser() as page:
        for width, dark in ((1280, False), (390, True)):
            page.view(width, dark=dark)
            page.go((tmp_path / "index.html").as_uri())
            assert page.run("document.documentElement.scrollWidth") <= width
        assert not page.errors
        assert sum("/thumbs/" in address for address in page.requests) >= 2
        assert not [address for address in page.requests if not address.startswith(("file:", "data:"))]
