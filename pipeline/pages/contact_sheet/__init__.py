"""The contact sheet: the collected pictures, kept or dropped, with the reason. Thumbnails lie beside the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pandas as pd

from pipeline.core.reason_codes import ReasonCode, ReasonCodes
from pipeline.pages import render
from pipeline.pages.credits import web_address

CARDS, REFUSED = 400, 500  # shown of a section; a page with every one of 100 000 opens nowhere
SPLITS = {
    "train": ("To train on", "What the model learns from."),
    "holdout": ("Held out", "Never trained on; the model is measured against them."),
}
LEAST_CERTAIN_FIRST = " The least certain first: look at these before you trust the rest."
KEPT_DIGITS = 3  # decimals of the score of a kept picture: a margin or a probability
COLUMNS = [
    "sha256",
    "source_id",
    "page_url",
    "image_url",
    "caption",
    "author",
    "licence",
    "code",
    "score",
    "sentence",
    "width_px",
    "height_px",
    "uncertain",
    "decided_by",
    "split",
]

Table: TypeAlias = pd.DataFrame | Sequence[Mapping[str, Any]]


def contact_sheet(name: str, rows: Table, refused: Table, codes: ReasonCodes, *, gallery: str = "") -> str:
    """The page for a species called `name`.

    `rows` are rows of `verdicts.parquet`, `refused` those of the manifest that were never stored, `codes` the words for
    their reason codes. The page links to `thumbs/<sha256>.webp` for each picture that was decoded, which is one with
    `width_px`.
    """
    frame, never = pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(refused)
    dropped = frame[frame["split"] == ""]
    kept = [_kept_section(split, frame[frame["split"] == split]) for split in SPLITS]
    return render(
        "contact_sheet/contact_sheet.html",
        name=name,
        gallery=gallery,
        kept=[section for section in kept if section["n"]],
        dropped=[_dropped_section(code, dropped[dropped["code"] == code.code]) for code in _found(dropped, codes)],
        refused=never.head(REFUSED).to_dict("records"),
        n_refused=len(never),
        counts={"train": kept[0]["n"], "holdout": kept[1]["n"], "all": len(frame)},
    )


def _found(dropped: pd.DataFrame, codes: ReasonCodes) -> list[ReasonCode]:
    """The codes that occur, in the order of the page: people's, then those of checks, of decoding, and unknown ones."""
    known = [code.code for code in (*codes.people, *codes.checks, *codes.decoding)]
    found = set(dropped["code"])
    return [codes.of(code) for code in (*(c for c in known if c in found), *sorted(found.difference(known)))]


def _kept_section(split: str, frame: pd.DataFrame) -> dict[str, Any]:
    title, intro = SPLITS[split]
    order = LEAST_CERTAIN_FIRST if frame["score"].notna().any() else ""
    return {"anchor": split, "title": title, "intro": intro + order, **_cards(frame, KEPT_DIGITS)}


def _dropped_section(code: ReasonCode, frame: pd.DataFrame) -> dict[str, Any]:
    cards = _cards(frame, code.score_digits, code.highest_first)
    return {"anchor": code.code, "title": code.title, "intro": code.meaning, **cards}


def _cards(frame: pd.DataFrame, digits: int, highest_first: bool = False) -> dict[str, Any]:
    """The first cards of a section: what a person should review, then by the score."""
    score = frame["score"].astype("float64")
    ranked = frame.assign(sure=frame["uncertain"] == "", rank=-score if highest_first else score)
    first = ranked.sort_values(["sure", "rank"], kind="stable").head(CARDS)
    return {"n": len(frame), "cards": [_card(row, digits) for row in first.to_dict("records")]}


def _card(row: Mapping[Any, Any], digits: int) -> dict[str, Any]:
    decoded, scored = pd.notna(row["width_px"]), pd.notna(row["score"])
    return {
        **row,
        "thumb": f"thumbs/{row['sha256']}.webp" if decoded else "",
        "page": web_address(row["page_url"]) or web_address(row["image_url"]),
        "shown_score": f"{row['score']:.{digits}f}" if scored else "",
        "size": f"{int(row['width_px'])} × {int(row['height_px'])} px" if decoded else "",
    }
