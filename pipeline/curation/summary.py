"""The printed summary of a curation, and the message when it left nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from pipeline.core.paths import Paths
from pipeline.core.reason_codes import ReasonCodes
from pipeline.curation.verdicts import KEPT

NAMED = 3  # hashes or pictures that a line names


def lines(card: Mapping[str, Any], table: pd.DataFrame, people: pd.DataFrame, paths: Paths) -> Iterator[str]:
    """How many pictures were kept, dropped, reviewed and are to be reviewed; `people` are the rows of the reviews."""
    file = paths.reviews.relative_to(paths.root)
    codes = _counted_codes({code: n for code, n in card["by_code"].items() if code != KEPT})
    kept = f"{card['n_train']} to train on, {card['n_holdout']} held out"
    dropped = f"{card['n_dropped']} dropped{f' ({codes})' if codes else ''}"
    page = (paths.curation / "index.html").relative_to(paths.root)
    yield f"curate {paths.species}: {kept}, {dropped}; see {page}"
    if reviewed := int((table["label"] != "").sum()):
        yield f"{_pictures(reviewed)} judged by people ({file})"
    if doubtful := int((table["uncertain"] != "").sum()):
        yield f"{_pictures(doubtful)} for people to look at: `paleo review {paths.species}`"
    unknown = sorted(set(people["sha256"]) - set(table["sha256"]))
    if unknown:
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        yield (
            f"warning: {file} judges {_pictures(len(unknown))} that this collection does not have "
            f"({', '.join(sha256[:16] for sha256 in unknown[:NAMED])}{more}); they may have left it since"
        )


def nothing_left(name: str, card: Mapping[str, Any], codes: ReasonCodes, species: str) -> str:
    """Why there is nothing to train on, and what to do about the most frequent reasons."""
    counts = Counter(card["by_code"])
    left = f"curation left no picture of {name} to train on: of {counts.total()} it dropped {_counted_codes(counts)}"
    return "; ".join([left, *_remedies(counts, codes, species)])


def dropped(table: pd.DataFrame, codes: ReasonCodes, species: str) -> str:
    """Which pictures were dropped for which reasons, and what mends the most frequent ones; "" for none."""
    names = table[table["verdict"] == "drop"].groupby("code")["source_id"].agg(list)
    counts = Counter({str(code): len(found) for code, found in names.items()})
    listed = [f"{n} {code} ({_first(names[code])})" for code, n in counts.most_common()]
    return "; ".join([", ".join(listed), *_remedies(counts, codes, species)]) if listed else ""


def _remedies(counts: Counter[str], codes: ReasonCodes, species: str) -> list[str]:
    return [text for code, _ in counts.most_common() if (text := codes.of(code).remedy.format(species=species))]


def _first(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _counted_codes(counts: Mapping[str, int]) -> str:
    """Codes with their numbers, most frequent first: 8 wrong_class, 4 duplicate."""
    return ", ".join(f"{n} {code}" for code, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _pictures(number: int) -> str:
    return f"{number} picture{'' if number == 1 else 's'}"
