"""The model card of a version, as Markdown for the pages of a registry: what it is, how good, how to load it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.core.metric_spec import metric_spec
from pipeline.core.releases import ReleaseLinks

_MARKS = re.compile(r"[\\`*_{}\[\]<>|#!~]")  # names and licences come from params.yaml and from the web
PAD = "&emsp;"  # MLflow's tables have no space between their columns


def model_card(
    card: Mapping[str, Any],
    metrics: Mapping[str, Any],
    *,
    class_noun: str,
    licences: Mapping[str, int],
    made_from: Mapping[str, str],
    links: ReleaseLinks,
) -> str:
    """Markdown that MLflow shows; `card` is the trained model's, `metrics` what the evaluation says.

    Parameters
    ----------
    licences
        Pictures of the data set by their licence.
    made_from
        Commit, tag and digests by what they name, those that are known.
    """
    species, step = card["species"], metrics["chosen_step"]
    what = f"a {plain(class_noun)}, as a text-to-image model" if class_noun else "as a text-to-image model"
    pictures = sum(licences.values())
    blocks = [
        f"![base and chosen step]({links.picture})" if links.picture else "",
        f"**{plain(card['name'])}**, {what}: step {step} of a {plain(card['method'])} training of "
        f"`{card['base']}`, on {pictures} pictures.",
        f"{_sentence(metrics['reason'])}",
        _table([("", *licences), ("pictures by licence", *map(str, licences.values()))]) if licences else "",
        f"Trigger words: `{str(card.get('trigger', card['name'])).replace('`', '')}`",
        _scores(metrics),
        _load(species),
        ", ".join(f"{plain(what)} `{value}`" for what, value in made_from.items()),
        " · ".join(f"[{plain(label)}]({address})" for label, address in links.pages.items()),
    ]
    return "\n\n".join(block for block in blocks if block)


def plain(text: str) -> str:
    """Text in which nothing is Markdown."""
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", " ".join(text.split()))


def _sentence(reason: str) -> str:
    return f"Chosen: {plain(reason)}."


def _scores(metrics: Mapping[str, Any]) -> str:
    """The chosen step's metrics under the names by which MLflow has them, beside those of the base."""
    rows: list[tuple[str, ...]] = [("metric", "base", f"step {metrics['chosen_step']}")]
    for name, value in metrics["chosen"].items():
        spec, base = metric_spec(name), metrics["base"].get(name)
        shown = [spec.text(number) if number is not None else "–" for number in (base, value)]
        rows.append((f"`{name}`", *shown))
    return _table(rows)


def _load(species: str) -> str:
    lines = (
        "import mlflow",
        f'model = mlflow.pyfunc.load_model("models:/{species}@champion")',
        'png = model.predict({"prompt": ["{name} flying over the sea"], "seed": [7]})[0]',
    )
    return "\n".join(["```python", *lines, "```"])


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *others = (f"| {' | '.join(cell + PAD for cell in row)} |" for row in rows)
    return "\n".join([head, f"|{' --- |' * len(rows[0])}", *others])
