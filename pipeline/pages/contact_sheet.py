"""The contact sheet: every collected picture, kept or dropped, with the reason. One file, pictures inside."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.pages import render

SPLITS = {
    "train": ("To train on", "What the model learns from."),
    "holdout": ("Held out", "Never trained on; the model is measured against them."),
}
ORDER = " The least certain first: look at these before you trust the rest."
CODES = {
    "wrong_class": ("Shows something else", "Nearer to a class that is not kept. The nearest misses first."),
    "duplicate": ("Copies", "The best of each group of copies is kept; the others are here."),
    "too_small": ("Too small", "Fewer pixels than can be learnt from."),
    "blurred": ("Blurred", "Little detail at any place."),
    "truncated": ("Cut off", "The end of the file is missing."),
    "undecodable": ("Damaged", "The file cannot be decoded."),
    "too_many_pixels": ("Too many pixels", "Not decoded, for safety."),
}
WEB = ("https://", "http://")  # other addresses (javascript:) are no links
DIGITS = {"wrong_class": 3, "kept": 3}


def contact_sheet(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    refused: Sequence[Mapping[str, Any]],
    thumbs: Mapping[str, bytes],
) -> str:
    """The page for a species called `name`.

    `rows` are rows of `verdicts.parquet`, `refused` those of the manifest that were never stored, `thumbs` WebP bytes
    by sha256 (none for a picture that could not be decoded).
    """
    cards = [_card(row, thumbs.get(row["sha256"])) for row in rows]
    kept = [_section(split, *SPLITS[split], [card for card in cards if card["split"] == split]) for split in SPLITS]
    codes = sorted({card["code"] for card in cards if not card["split"]}, key=_place)
    dropped = [_section(code, *_words(code), [card for card in cards if card["code"] == code]) for code in codes]
    return render(
        "contact_sheet.html",
        name=name,
        kept=[section for section in kept if section["cards"]],
        dropped=dropped,
        refused=[{**row, "code": row["reason_code"]} for row in refused],
        counts={"train": len(kept[0]["cards"]), "holdout": len(kept[1]["cards"]), "all": len(cards)},
    )


def _section(anchor: str, title: str, intro: str, cards: list[dict]) -> dict[str, Any]:
    nearest = anchor == "wrong_class"
    ranked = sorted(cards, key=lambda card: -card["rank"] if nearest else card["rank"])
    ordered = anchor in SPLITS and any(card["shown_score"] for card in cards)
    return {"anchor": anchor, "title": title, "intro": intro + (ORDER if ordered else ""), "cards": ranked}


def _card(row: Mapping[str, Any], thumb: bytes | None) -> dict[str, Any]:
    score = row["score"] if row["score"] is not None and not math.isnan(row["score"]) else None
    return {
        **row,
        "thumb": f"data:image/webp;base64,{base64.b64encode(thumb).decode()}" if thumb else "",
        "page": next((row[key] for key in ("page_url", "image_url") if row[key].startswith(WEB)), ""),
        "shown_score": "" if score is None else f"{score:.{DIGITS.get(row['code'], 0)}f}",
        "size": f"{row['width_px']} × {row['height_px']} px" if thumb else "",
        "rank": 0.0 if score is None else score,
    }


def _words(code: str) -> tuple[str, str]:
    return CODES.get(code, (code.replace("_", " ").capitalize(), ""))


def _place(code: str) -> tuple[int, str]:
    return (list(CODES).index(code) if code in CODES else len(CODES), code)
