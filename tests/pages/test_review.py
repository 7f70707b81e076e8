from __future__ import annotations

import json
import re

from pipeline.pages import review as page_module
from pipeline.pages.review import KEYS, REASONS, ordered, reasons, review_page
from tests.verdict_rows import row, sha, verdicts

NAN = float("nan")


def _page(*rows: dict, reviews=None, **given) -> str:
    frame = verdicts(*rows)
    none = frame.head(0)[["sha256", "verdict"]].assign(why="", who="", when="")
    return review_page("Raphus cucullatus", "dodo", "f" * 64, frame, none if reviews is None else reviews, **given)


def _data(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL).group(1))


def _names(frame) -> list[str]:
    return list(frame["source_id"])


def test_what_curation_doubted_comes_first_then_the_smallest_margins():
    frame = verdicts(
        row("sure", clip_margin=0.3),
        row("near", clip_margin=0.01),
        row("missed", "wrong_class", clip_margin=-0.02),
        row("doubted", clip_margin=0.4, uncertain="may be a copy"),
        row("unasked", "too_small", clip_margin=NAN),
    )
    assert _names(ordered(frame)) == ["doubted", "near", "missed", "sure", "unasked"]


def test_a_series_stands_together_where_its_least_certain_picture_does():
    frame = verdicts(
        row("s1", series="s", clip_margin=0.9),
        row("a", clip_margin=0.1),
        row("s2", series="s", clip_margin=0.05),
        row("g1", group="g", clip_margin=0.2),
        row("b", clip_margin=0.3),
        row("g2", group="g", clip_margin=0.8),
    )
    assert _names(ordered(frame)) == ["s2", "s1", "a", "g1", "g2", "b"]
    page = _page(*frame.to_dict("records"))
    assert page.count('class="series"') == 2 and page.count(">2 alike<") == 2


def test_what_could_not_be_decoded_is_not_asked_about_but_mentioned():
    page = _page(row("a"), row("b", "truncated", width_px=None, height_px=None))
    assert [picture["sha256"] for picture in _data(page)["pictures"]] == [sha("a")]
    assert "1 file that could not be decoded is not here" in page


def test_beyond_the_limit_the_surest_are_left_out(monkeypatch):
    monkeypatch.setattr(page_module, "SHOWN", 2)
    page = _page(*(row(f"p{n}", clip_margin=n / 10) for n in range(5)))
    assert [picture["title"] for picture in _data(page)["pictures"]] == ["p0", "p1"]
    assert "3 surer ones are left out" in page


def test_what_checks_offer_are_reasons_and_no_more_than_there_are_digits():
    assert reasons(["bird", "bat"]) == ["bird", "bat", *REASONS]
    many = reasons([f"class {n}" for n in range(9)])
    assert len(many) == KEYS and many[-len(REASONS) :] == list(REASONS)


def test_words_from_outside_are_text_and_no_code():
    evil = "</script><script>alert(1)</script>"
    words = dict.fromkeys(
        ("caption", "author", "title", "source_id", "sentence", "uncertain", "code", "clip_class"), evil
    )
    page = _page(
        row("a", **words, page_url="javascript:alert(1)"), larger={sha("a"): '"><script>'}, check_reasons=[evil]
    )
    assert "<script>alert" not in page and "javascript:" not in page and '"><script>' not in page
    assert _data(page)["pictures"][0]["caption"] == evil


def test_no_picture_at_all_is_a_page_too():
    assert "There is no picture to look at." in _page()
