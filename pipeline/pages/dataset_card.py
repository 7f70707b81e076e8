"""The card of a curated data set: the `README.md` that Hugging Face shows and that names its splits to `datasets`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.core.licences import hub_licences
from pipeline.core.markdown import code, plain
from pipeline.pages import counted

SPLITS = {"train": "train", "test": "holdout"}  # as Hugging Face calls them: the folder
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
COLUMNS = {
    "image": "the picture: PNG, RGB, upright, without plain borders",
    "text": "its caption: that of the source, else its title, a captioning model's or a template",
    "author, licence, licence_url, page_url": "who made it, what is allowed, where it was found",
    "source, sha256": "which source gave it, and the digest of the original file",
}


def dataset_card(key: str, name: str, kept: Sequence[Mapping[str, Any]], card: Mapping[str, Any]) -> str:
    """README.md of `data/curated/<key>`: `kept` are the rows of metadata.parquet, `card` what card.json says."""
    dropped = f"; {card['n_dropped']} more were collected and dropped" if card["n_dropped"] else ""
    reviewed = sum(row["decided_by"] == "review" for row in kept)
    judged = f"{reviewed} of them by a person, the others by scores" if reviewed else "all by scores, none by a person"
    sources = ", ".join(f"`{code(source)}`" for source in sorted({row["source"] for row in kept}))
    licences = Counter(row["licence"] or "unknown" for row in kept)
    lines = [
        f"# Pictures of {plain(name)}",
        f"{counted(card['n_train'], 'picture')} to train on and {card['n_holdout']} held out{dropped}.",
        "",
        "## Loading",
        "```python",
        "from datasets import load_dataset",
        "",
        f'train = load_dataset("imagefolder", data_dir="data/curated/{key}", split="train")',
        f'both = load_dataset("data/curated/{key}")  # the splits {" and ".join(_splits(card))}',
        "```",
        "`test` is the folder `holdout`: series of pictures that no training sees, against which models are measured.",
        "",
        "| column | content |",
        "|---|---|",
        *(f"| {column} | {content} |" for column, content in COLUMNS.items()),
        "",
        "## Licences",
        "Each picture has its own, with its author, in its row; whoever passes pictures on must name both.",
        "",
        "| licence | pictures |",
        "|---|---:|",
        *(
            f"| {plain(licence)} | {n} |"
            for licence, n in sorted(licences.items(), key=lambda item: (-item[1], item[0]))
        ),
        "",
        "## How it was made",
        f"Collected from {sources} and judged, {judged}: copies, small and blurred pictures and those",
        "that show something else were dropped. `verdicts.parquet` has every verdict with its reason, `scores.parquet`",
        f"what it follows from. Digest of the data set: `{card['digest']}`.",
    ]
    return f"---\n{_front_matter(name, licences, card)}---\n" + "\n".join(lines) + "\n"


def _splits(card: Mapping[str, Any]) -> dict[str, str]:
    """The splits that have pictures."""
    return {split: folder for split, folder in SPLITS.items() if card[f"n_{folder}"]}


def _front_matter(name: str, licences: Mapping[str, int], card: Mapping[str, Any]) -> str:
    from huggingface_hub import DatasetCardData  # a quarter of a second

    n = card["n_train"] + card["n_holdout"]
    data_files = [{"split": split, "path": f"{folder}/**"} for split, folder in _splits(card).items()]
    data = DatasetCardData(
        license=hub_licences(licences),
        pretty_name=f"Pictures of {' '.join(name.split())}",
        task_categories=["text-to-image"],
        size_categories=[next((size for limit, size in SIZES if n < limit), "n>1M")],
        tags=["paleoforge"],
        configs=[{"config_name": "default", "data_files": data_files}],
    )
    return f"{data.to_yaml()}\n"
