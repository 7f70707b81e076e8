"""The report of a curation: where the candidates went, and what the kept pictures are like. Bounded for any number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.reason_codes import ReasonCodes, steps
from pipeline.pages import percent, render
from pipeline.pages.curation_report.distributions import (
    MAP_HEIGHT,
    MAP_WIDTH,
    THUMB_PX,
    hue_wheel,
    scatter,
    stacked_columns,
    thousands,
)

STATES = {"train": "to train on", "holdout": "held out", "": "dropped"}  # by `split`
STORED = "stored"  # the step of the funnel after which only stored pictures are left
AUTHORS = 10  # named; the others are one line
WARNED_SHARE = 0.4  # of the pictures by one author: the model learns a style instead of an animal
SIDES_PX = (0, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096)
ASPECTS = (0, 0.4, 0.55, 0.7, 0.85, 1.15, 1.4, 1.8, 2.5, 4)  # width by height
GREY_SATURATION = 0.08  # below which a hue means nothing
SWATCHES = 240
DOTS = 2000
NO_AUTHOR, NO_LICENCE = "unknown author", "no licence"


def curation_report(
    name: str,
    verdicts: pd.DataFrame,
    manifest: pd.DataFrame,
    card: Mapping[str, Any],
    codes: ReasonCodes,
    *,
    gallery: str = "",
) -> str:
    """The page for a species called `name`; it lies beside `contact_sheet.html` and `thumbs/`.

    `verdicts` is `verdicts.parquet`, `manifest` the one that it was made from, `card` that of the curated set, `codes`
    the words for the reason codes in both, `gallery` the address of the species' page there, which it links back to.
    """
    decoded = verdicts[verdicts["width_px"].notna()]
    kept = verdicts[verdicts["verdict"] == "keep"]
    return render(
        "curation_report/curation_report.html",
        name=name,
        gallery=gallery,
        card=card,
        states=STATES,
        facts=_facts(verdicts, manifest, kept),
        funnel=_funnel(verdicts, manifest, codes),
        reasons=_reasons(verdicts, manifest, codes),
        sources=_sources(verdicts, manifest),
        authors=_authors(kept),
        licences=_shares(kept["licence"].replace("", NO_LICENCE)),
        classes=_classes(decoded),
        sides=stacked_columns(
            _bins(_side(decoded), SIDES_PX), decoded["split"], list(STATES), _ranges(SIDES_PX, "{:g}")
        ),
        aspects=stacked_columns(
            _bins(_aspect(decoded), ASPECTS), decoded["split"], list(STATES), _ranges(ASPECTS, "{:g}")
        ),
        colours=_colours(kept),
        map=_map(decoded),
    )


def _facts(verdicts: pd.DataFrame, manifest: pd.DataFrame, kept: pd.DataFrame) -> dict[str, str]:
    splits = verdicts["split"].value_counts()
    numbers = {
        "candidates": len(manifest),
        "stored": len(verdicts),
        "kept": len(kept),
        "to train on": splits.get("train", 0),
        "held out": splits.get("holdout", 0),
        "decided by a person": (verdicts["decided_by"] == "review").sum(),
        "for a person to look at": ((verdicts["uncertain"] != "") & (verdicts["label"] == "")).sum(),
    }
    return {what: thousands(number) for what, number in numbers.items()}


def _funnel(verdicts: pd.DataFrame, manifest: pd.DataFrame, codes: ReasonCodes) -> list[dict[str, Any]]:
    """What is left after each step; a code that nobody owns has a step of its own."""
    lost = pd.concat([_lost_before_storing(manifest, codes), _lost_after_storing(verdicts, codes)])
    first = (*steps(codes.collection), STORED, *steps(codes.decoding), *steps(codes.checks))
    last = steps(codes.people)
    others = [label for label in lost.index.unique() if label not in (*first, *last)]
    left, funnel = len(manifest), [("candidates", len(manifest), 0)]
    for label in (*first, *others, *last):
        gone = int(lost.get(label, 0))
        left -= gone
        funnel.append((label, left, gone))
    funnel.append(("kept", left, 0))
    return [{"label": label, "n": n, "lost": gone, "share": n / max(len(manifest), 1)} for label, n, gone in funnel]


def _lost_before_storing(manifest: pd.DataFrame, codes: ReasonCodes) -> pd.Series:
    """How many candidates fall at each step; whatever else kept one from being stored falls at `STORED`."""
    step_of = {entry.code: entry.step for entry in codes.collection}
    dropped = manifest.loc[~manifest["kept"].astype(bool), "reason_code"]
    return dropped.map(lambda code: step_of.get(code, STORED)).value_counts()


def _lost_after_storing(verdicts: pd.DataFrame, codes: ReasonCodes) -> pd.Series:
    return verdicts.loc[verdicts["verdict"] == "drop", "code"].map(lambda code: codes.of(code).step).value_counts()


def _reasons(verdicts: pd.DataFrame, manifest: pd.DataFrame, codes: ReasonCodes) -> list[dict[str, Any]]:
    """Every code with its number and a sentence that it was given with, the most frequent first."""
    never = manifest.loc[~manifest["kept"].astype(bool), ["reason_code", "reason"]]
    never = never.set_axis(["code", "sentence"], axis=1).assign(anchor="refused")
    dropped = verdicts.loc[verdicts["verdict"] == "drop", ["code", "sentence"]]
    both = pd.concat([never, dropped.assign(anchor=dropped["code"])])
    groups = both.groupby(["code", "anchor"]).agg(n=("sentence", "size"), sentence=("sentence", "first")).reset_index()
    rows = groups.sort_values(["n", "code"], ascending=[False, True]).to_dict("records")
    return [{**row, "title": codes.of(row["code"]).title, "share": row["n"] / max(len(both), 1)} for row in rows]


def _sources(verdicts: pd.DataFrame, manifest: pd.DataFrame) -> list[dict[str, Any]]:
    kept = verdicts.loc[verdicts["verdict"] == "keep", "source"].value_counts()
    stored, all_of = verdicts["source"].value_counts(), manifest["source"].value_counts()
    return [
        {
            "label": source,
            "n": int(n),
            "kept": int(kept.get(source, 0)),
            "never": int(n - stored.get(source, 0)),
            "dropped": int(stored.get(source, 0) - kept.get(source, 0)),
        }
        for source, n in sorted(all_of.items(), key=lambda item: (-item[1], item[0]))
    ]


def _authors(kept: pd.DataFrame) -> dict[str, Any]:
    shares = _shares(kept["author"].replace("", NO_AUTHOR))
    rest = sum(entry["n"] for entry in shares[AUTHORS:])
    others = {"label": f"{len(shares) - AUTHORS} others", "n": rest, "share": rest / max(len(kept), 1)}
    top = next((entry for entry in shares if entry["label"] != NO_AUTHOR), None)
    warning = (
        f"{top['label']} made {percent(top['share'])} of the kept pictures"
        if top and top["share"] > WARNED_SHARE
        else ""
    )
    return {"rows": shares[:AUTHORS] + [others] * bool(rest), "n": len(shares), "warning": warning}


def _shares(column: pd.Series) -> list[dict[str, Any]]:
    counts = sorted(column.value_counts().items(), key=lambda item: (-item[1], item[0]))
    return [{"label": label, "n": int(n), "share": n / len(column)} for label, n in counts]


def _classes(decoded: pd.DataFrame) -> list[dict[str, Any]]:
    """How many pictures CLIP assigns to each class, by what became of them."""
    judged = decoded[decoded["clip_class"] != ""]
    counts = pd.crosstab(judged["clip_class"], judged["split"]).reindex(columns=list(STATES), fill_value=0)
    order = counts.sum(axis=1).sort_values(ascending=False, kind="stable").index
    return [{"label": label, "counts": [int(n) for n in counts.loc[label]]} for label in order]


def _side(decoded: pd.DataFrame) -> pd.Series:
    return decoded[["width_px", "height_px"]].astype("float64").min(axis=1)


def _aspect(decoded: pd.DataFrame) -> pd.Series:
    return decoded["width_px"].astype("float64") / decoded["height_px"].astype("float64")


def _bins(values: pd.Series, edges: tuple[float, ...]) -> pd.Series:
    return pd.Series(np.searchsorted(edges, values, side="right") - 1, index=values.index)


def _ranges(edges: tuple[float, ...], form: str) -> list[str]:
    """The bins by their lower ends, the first and the last as what they are: `< 64`, `64`, …, `≥ 4096`."""
    return [f"< {form.format(edges[1])}", *(form.format(edge) for edge in edges[1:-1]), f"≥ {form.format(edges[-1])}"]


def _colours(kept: pd.DataFrame) -> dict[str, Any]:
    """Mean colours of kept pictures: a wheel of those that have a hue, and a strip of them all, thinned out."""
    known = kept[kept["lightness"].notna()]
    coloured = known["saturation"] >= GREY_SATURATION
    ordered = pd.concat(
        [known[coloured].sort_values(["hue_deg", "lightness"]), known[~coloured].sort_values("lightness")]
    )
    stride = -(-len(ordered) // SWATCHES) or 1
    swatches = [_colour(row) for row in ordered.iloc[::stride].itertuples()]
    return {
        "wheel": hue_wheel(known.loc[coloured, "hue_deg"]),
        "swatches": swatches,
        "n": len(known),
        "grey": int((~coloured).sum()),
        "coloured": int(coloured.sum()),
    }


def _colour(row: Any) -> str:
    """In CSS; a grey picture has no hue."""
    hue_deg = row.hue_deg if row.saturation >= GREY_SATURATION else 0.0
    return f"hsl({hue_deg:.0f} {100 * row.saturation:.0f}% {100 * row.lightness:.0f}%)"


def _map(decoded: pd.DataFrame) -> dict[str, Any]:
    """The embedding map: at most `DOTS` pictures, taken by their hash; where there is room, with thumbnails."""
    placed = decoded[decoded["map_x"].notna() & decoded["map_y"].notna()]
    shown = placed.sort_values("sha256").head(DOTS)
    if shown.empty:
        return {"dots": [], "thumbs": [], "n": 0, "shown": 0}
    drawn = shown.join(scatter(shown["map_x"], shown["map_y"]))
    dots = {free: [_dot(row) for row in drawn[drawn["free"] == free].itertuples()] for free in (True, False)}
    return {
        "thumbs": dots[True],
        "dots": dots[False],
        "n": len(placed),
        "shown": len(shown),
        "side": THUMB_PX,
        "width": MAP_WIDTH,
        "height": MAP_HEIGHT,
    }


def _dot(row: Any) -> dict[str, Any]:
    return {"x": row.x, "y": row.y, "split": row.split, "sha256": row.sha256, "title": _title(row)}


def _title(row: Any) -> str:
    return f"{row.source_id}: {STATES[row.split]}, {row.clip_class or 'no class'}. {row.sentence}"
