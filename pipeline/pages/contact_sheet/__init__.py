"""The contact sheet: the collected pictures, kept or dropped, with the reason. Thumbnails lie beside the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pandas as pd

from pipeline.pages import render
from pipeline.pages.credits import web_address

CARDS, REFUSED = 400, 500  # shown of a section; a page with every one of 100 000 opens nowhere
SPLITS = {
    "train": ("To train on", "What the model learns from."),
    "holdout": ("Held out", "Never trained on; the model is measured against them."),
}
ORDER = " The least certain first: look at these before you trust the rest."
CODES = {
    "reviewed": ("Dropped by people", "A person looked at them; that outranks every score."),
    "wrong_class": ("Shows something else", "Nearer to a class that is not kept. The nearest misses first."),
    "specimen": ("Fossils and skeletons", "Their source says that they show no living animal."),
    "duplicate": ("Copies", "The best of each group of copies is kept; the others are here."),
    "series": ("Of a full series", "More pictures of one scene than are kept of it; the best are in the set."),
    "too_small": ("Too small", "Fewer pixels than can be learnt from."),
    "bad_aspect": ("Too long or too tall", "Little would be left of them in a square."),
    "blurred": ("Blurred", "Little detail at any place."),
    "low_information": ("Next to nothing on it", "A plain ground with little else."),
    "truncated": ("Cut off", "The end of the file is missing."),
    "undecodable": ("Damaged", "The file cannot be decoded."),
    "too_many_pixels": ("Too many pixels", "Not decoded, for safety."),
}
DIGITS = {"wrong_class": 3, "kept": 3, "bad_aspect": 1, "low_information": 1}
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


def contact_sheet(name: str, rows: Table, refused: Table) -> str:
    """The page for a species called `name`.

    `rows` are rows of `verdicts.parquet`, `refused` those of the manifest that were never stored. The page links to
    `thumbs/<sha256>.webp` for each picture that was decoded, which is one with `width_px`.
    """
    frame, never = pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(refused)
    dropped = frame[frame["split"] == ""]
    codes = sorted(dropped["code"].unique(), key=_place)
    kept = [_section(split, *SPLITS[split], frame[frame["split"] == split]) for split in SPLITS]
    return render(
        "contact_sheet/contact_sheet.html",
        name=name,
        kept=[section for section in kept if section["n"]],
        dropped=[_section(code, *words(code), dropped[dropped["code"] == code]) for code in codes],
        refused=never.head(REFUSED).to_dict("records"),
        n_refused=len(never),
        counts={"train": kept[0]["n"], "holdout": kept[1]["n"], "all": len(frame)},
    )


def words(code: str) -> tuple[str, str]:
    """How pictures dropped with a code are called, and what it means."""
    return CODES.get(code, (code.replace("_", " ").capitalize(), ""))


def _section(anchor: str, title: str, intro: str, frame: pd.DataFrame) -> dict[str, Any]:
    """The first cards of a section: what a person should look at, then the least certain."""
    score = frame["score"].astype("float64")
    ranked = frame.assign(sure=frame["uncertain"] == "", rank=-score if anchor == "wrong_class" else score)
    first = ranked.sort_values(["sure", "rank"], kind="stable").head(CARDS)
    more = ORDER if anchor in SPLITS and score.notna().any() else ""
    cards = [_card(row) for row in first.to_dict("records")]
    return {"anchor": anchor, "title": title, "intro": intro + more, "n": len(frame), "cards": cards}


def _card(row: Mapping[str, Any]) -> dict[str, Any]:
    seen, scored = pd.notna(row["width_px"]), pd.notna(row["score"])
    return {
        **row,
        "thumb": f"thumbs/{row['sha256']}.webp" if seen else "",
        "page": web_address(row["page_url"]) or web_address(row["image_url"]),
        "shown_score": f"{row['score']:.{DIGITS.get(row['code'], 0)}f}" if scored else "",
        "size": f"{int(row['width_px'])} × {int(row['height_px'])} px" if seen else "",
    }


def _place(code: str) -> tuple[int, str]:
    return (list(CODES).index(code) if code in CODES else len(CODES), code)
