"""The report of a curation: where the candidates went, and what the kept pictures are like. Bounded for any number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipeline.pages import percent, render
from pipeline.pages.contact_sheet import words
from pipeline.pages.curation_report.distributions import (
    MAP_HEIGHT,
    MAP_WIDTH,
    THUMB,
    columns,
    scatter,
    thousands,
    wheel,
)

STATES = {"train": "to train on", "holdout": "held out", "": "dropped"}  # by `split`
STEPS = (  # what a step of the funnel leaves, and the codes that fall there, in the order of the checks
    ("with a licence that is allowed", {"licence_missing", "licence_unknown", "licence_refused", "sources_disagree"}),
    ("each file once", {"same_bytes"}),
    ("stored", None),  # whatever else kept a candidate from being stored
    ("decoded", None),  # whatever has no size
    ("large enough, not too long", {"too_small", "bad_aspect"}),
    ("with something to see", {"blurred", "low_information"}),
    ("of the animal alive", {"specimen", "wrong_class"}),
    ("each picture once", {"duplicate"}),
    ("the best of each series", {"series"}),
    ("approved by people", None),  # a person's verdict outranks every score
)
AUTHORS = 10  # named; the others are one line
MUCH = 0.4  # of the pictures by one author: the model may learn the style instead of the animal
SIDES_PX = (0, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096)
ASPECTS = (0, 0.4, 0.55, 0.7, 0.85, 1.15, 1.4, 1.8, 2.5, 4)  # width by height
GREY = 0.08  # saturation below which a hue says nothing
SWATCHES = 240
DOTS = 2000
NO_AUTHOR, NO_LICENCE = "unknown author", "no licence"


def curation_report(name: str, verdicts: pd.DataFrame, manifest: pd.DataFrame, card: Mapping[str, Any]) -> str:
    """The page for a species called `name`; it lies beside `contact_sheet.html` and `thumbs/`.

    `verdicts` is `verdicts.parquet`, `manifest` the one that it was made from, `card` that of the curated set.
    """
    seen = verdicts[verdicts["width_px"].notna()]
    kept = verdicts[verdicts["verdict"] == "keep"]
    return render(
        "curation_report/curation_report.html",
        name=name,
        card=card,
        states=STATES,
        facts=_facts(verdicts, manifest, kept),
        funnel=_funnel(verdicts, manifest),
        reasons=_reasons(verdicts, manifest),
        sources=_sources(verdicts, manifest),
        authors=_authors(kept),
        licences=_shares(kept["licence"].replace("", NO_LICENCE)),
        classes=_classes(seen),
        sides=columns(_bins(_side(seen), SIDES_PX), seen["split"], list(STATES), _ranges(SIDES_PX, "{:g}")),
        aspects=columns(_bins(_aspect(seen), ASPECTS), seen["split"], list(STATES), _ranges(ASPECTS, "{:g}")),
        colours=_colours(kept),
        map=_map(seen),
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


def _funnel(verdicts: pd.DataFrame, manifest: pd.DataFrame) -> list[dict[str, Any]]:
    """What is left after each step; a code that no step knows falls at a step called after it."""
    lost = pd.concat([_lost_before(manifest), _lost_after(verdicts)])
    known = [label for label, _ in STEPS]
    others = [label for label in lost.index.unique() if label not in known]
    left, steps = len(manifest), [{"label": "candidates", "n": len(manifest), "lost": 0}]
    for label in (*known[:-1], *others, known[-1]):
        gone = int(lost.get(label, 0))
        left -= gone
        steps.append({"label": label, "n": left, "lost": gone})
    steps.append({"label": "kept", "n": left, "lost": 0})
    return [{**step, "share": step["n"] / max(len(manifest), 1)} for step in steps]


def _lost_before(manifest: pd.DataFrame) -> pd.Series:
    codes = manifest.loc[~manifest["kept"].astype(bool), "reason_code"]
    return codes.map(lambda code: _step(code, "stored")).value_counts()


def _lost_after(verdicts: pd.DataFrame) -> pd.Series:
    dropped = verdicts[verdicts["verdict"] == "drop"]
    labels = dropped["code"].map(lambda code: _step(code, f"not dropped as {words(code)[0].lower()}"))
    labels = labels.mask(dropped["width_px"].isna(), "decoded")
    return labels.mask(dropped["decided_by"] == "review", "approved by people").value_counts()


def _step(code: str, otherwise: str) -> str:
    return next((label for label, codes in STEPS if codes and code in codes), otherwise)


def _reasons(verdicts: pd.DataFrame, manifest: pd.DataFrame) -> list[dict[str, Any]]:
    """Every code with its number and a sentence that it was given with, the most frequent first."""
    never = manifest.loc[~manifest["kept"].astype(bool), ["reason_code", "reason"]]
    never = never.set_axis(["code", "sentence"], axis=1).assign(anchor="refused")
    dropped = verdicts.loc[verdicts["verdict"] == "drop", ["code", "sentence"]]
    both = pd.concat([never, dropped.assign(anchor=dropped["code"])])
    groups = both.groupby(["code", "anchor"]).agg(n=("sentence", "size"), sentence=("sentence", "first")).reset_index()
    rows = groups.sort_values(["n", "code"], ascending=[False, True]).to_dict("records")
    return [{**row, "title": words(row["code"])[0], "share": row["n"] / max(len(both), 1)} for row in rows]


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
    warning = f"{top['label']} made {percent(top['share'])} of the kept pictures" if top and top["share"] > MUCH else ""
    return {"rows": shares[:AUTHORS] + [others] * bool(rest), "n": len(shares), "warning": warning}


def _shares(column: pd.Series) -> list[dict[str, Any]]:
    counts = sorted(column.value_counts().items(), key=lambda item: (-item[1], item[0]))
    return [{"label": label, "n": int(n), "share": n / len(column)} for label, n in counts]


def _classes(seen: pd.DataFrame) -> list[dict[str, Any]]:
    """What CLIP says that the pictures show, by what became of them."""
    asked = seen[seen["clip_class"] != ""]
    counts = pd.crosstab(asked["clip_class"], asked["split"]).reindex(columns=list(STATES), fill_value=0)
    order = counts.sum(axis=1).sort_values(ascending=False, kind="stable").index
    return [{"label": label, "counts": [int(n) for n in counts.loc[label]]} for label in order]


def _side(seen: pd.DataFrame) -> pd.Series:
    return seen[["width_px", "height_px"]].astype("float64").min(axis=1)


def _aspect(seen: pd.DataFrame) -> pd.Series:
    return seen["width_px"].astype("float64") / seen["height_px"].astype("float64")


def _bins(values: pd.Series, edges: tuple[float, ...]) -> pd.Series:
    return pd.Series(np.searchsorted(edges, values, side="right") - 1, index=values.index)


def _ranges(edges: tuple[float, ...], form: str) -> list[str]:
    """The bins by their lower ends, the first and the last as what they are: `< 64`, `64`, …, `≥ 4096`."""
    return [f"< {form.format(edges[1])}", *(form.format(edge) for edge in edges[1:-1]), f"≥ {form.format(edges[-1])}"]


def _colours(kept: pd.DataFrame) -> dict[str, Any]:
    """Mean colours of kept pictures: a wheel of those that have a hue, and a strip of them all, thinned out."""
    known = kept[kept["lightness"].notna()]
    coloured = known["saturation"] >= GREY
    ordered = pd.concat(
        [known[coloured].sort_values(["hue_deg", "lightness"]), known[~coloured].sort_values("lightness")]
    )
    stride = -(-len(ordered) // SWATCHES) or 1
    swatches = [_colour(row) for row in ordered.iloc[::stride].itertuples()]
    return {
        "wheel": wheel(known.loc[coloured, "hue_deg"]),
        "swatches": swatches,
        "n": len(known),
        "grey": int((~coloured).sum()),
        "coloured": int(coloured.sum()),
    }


def _colour(row: Any) -> str:
    """In CSS; a grey picture has no hue."""
    hue_deg = row.hue_deg if row.saturation >= GREY else 0.0
    return f"hsl({hue_deg:.0f} {100 * row.saturation:.0f}% {100 * row.lightness:.0f}%)"


def _map(seen: pd.DataFrame) -> dict[str, Any]:
    """The embedding map: at most `DOTS` pictures, taken by their hash; where there is room, with thumbnails."""
    placed = seen[seen["map_x"].notna() & seen["map_y"].notna()]
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
        "side": THUMB,
        "width": MAP_WIDTH,
        "height": MAP_HEIGHT,
    }


def _dot(row: Any) -> dict[str, Any]:
    return {"x": row.x, "y": row.y, "split": row.split, "sha256": row.sha256, "title": _title(row)}


def _title(row: Any) -> str:
    return f"{row.source_id}: {STATES[row.split]}, {row.clip_class or 'no class'}. {row.sentence}"
