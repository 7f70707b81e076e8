"""collect: look at the sources and keep what they offer, byte for byte, with where it came from.

The one stage that looks at the world. It judges files, not pictures: is this a picture by its first bytes, may it be
used, do we have it already. What a picture shows is for `curate`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from pipeline.core.errors import InputError
from pipeline.core.lineage import digest_bytes, digest_json
from pipeline.core.params import Params, Species
from pipeline.core.paths import Paths
from pipeline.core.records import Candidate, Rejection, Report
from pipeline.io import images, outputs, tables
from pipeline.io.progress import track
from pipeline.sources import SOURCES, Offer

COLUMNS = {
    "source": "str", "source_id": "str", "image_url": "str", "page_url": "str", "title": "str", "caption": "str",
    "author": "str", "licence": "str", "licence_url": "str", "sha256": "str", "path": "str", "bytes": "int64",
    "kept": "bool", "reason_code": "str", "reason": "str",
}  # fmt: skip


def collect(params: Params, paths: Paths) -> Report:
    """Fill `data/raw/<species>/`: original bytes, one manifest row per candidate, the card."""
    species = params.species[paths.species]
    offers = track(_offers(species, paths.root, params.seed), f"collect {paths.species}", _expected(species))

    with outputs.fresh_folder(paths.raw) as folder:
        manifest = _manifest(_store(offers, folder, params.collect.licences))
        _demand_pictures(manifest, species)
        tables.write(folder / "manifest.parquet", manifest)
        card = _card(paths.species, manifest)
        outputs.write_card(folder, **card)

    return Report("collect", _lines(card), {"n_kept": card["n_kept"], "n_candidates": card["n_candidates"]})


def _offers(species: Species, root: Path, seed: int) -> Iterator[Offer]:
    for source in species.sources:
        yield from SOURCES[source.kind](source, root, seed)


def _expected(species: Species) -> int | None:
    """How many files the sources will offer, where that is known beforehand."""
    if any(source.kind != "synthetic" for source in species.sources):
        return None
    return sum(source.good + source.clutter for source in species.sources)


def _store(offers: Iterator[Offer], folder: Path, licences: tuple[str, ...]) -> Iterator[dict]:
    """Write what may be kept and yield one manifest row per offer."""
    first: dict[str, Candidate] = {}
    for candidate, content in offers:
        candidate = replace(candidate, licence=_spelled(candidate.licence, licences))
        refused = content if isinstance(content, Rejection) else _refuse(candidate, content, licences, first)
        content = b"" if isinstance(content, Rejection) else content
        sha256 = digest_bytes(content) if content else ""
        path = "" if refused else f"images/{sha256}.{images.FORMATS[images.sniff(content)]}"
        if path:
            first[sha256] = candidate
            outputs.write_bytes(folder / path, content)
        yield _row(candidate, refused, sha256=sha256, path=path, bytes=len(content))


def _spelled(licence: str, known: tuple[str, ...]) -> str:
    """A licence as params.yaml spells it: SPDX names mean the same in capitals and small letters."""
    return next((name for name in known if name.casefold() == licence.strip().casefold()), licence.strip())


def _refuse(candidate: Candidate, content: bytes, licences: tuple[str, ...], first: dict) -> Rejection | None:
    """Why this file is not kept; None when it is."""
    return images.refuse(content) or _refuse_licence(candidate, licences) or _refuse_again(content, first)


def _refuse_licence(candidate: Candidate, licences: tuple[str, ...]) -> Rejection | None:
    accepted = f"accepted are {', '.join(licences) or 'none'} (collect.licences in params.yaml)"
    if not candidate.licence:
        return Rejection("licence", "licence_missing", f"It names no licence; {accepted}.")
    if candidate.licence not in licences:
        return Rejection("licence", "licence_refused", f"Its licence is {candidate.licence!r}; {accepted}.")
    return None


def _refuse_again(content: bytes, first: dict[str, Candidate]) -> Rejection | None:
    again = first.get(digest_bytes(content))
    if not again:
        return None
    return Rejection("bytes", "same_bytes", f"It is the very file of {again.source_id!r}, byte for byte.")


def _row(candidate: Candidate, refused: Rejection | None, **stored: str | int) -> dict:
    code, reason = (refused.code, refused.sentence) if refused else ("", "")
    return {**asdict(candidate), **stored, "kept": refused is None, "reason_code": code, "reason": reason}


def _manifest(rows: Iterator[dict]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=list(COLUMNS)).astype(COLUMNS)
    return frame.sort_values(["source", "source_id"], kind="stable", ignore_index=True)


def _demand_pictures(manifest: pd.DataFrame, species: Species) -> None:
    if manifest["kept"].any():
        return
    codes = _counts(Counter(manifest["reason_code"]))
    found = f"{len(manifest)} files, of them {codes}" if codes else "nothing at all"
    example = f" ({manifest['source_id'].iloc[0]}: {manifest['reason'].iloc[0].rstrip('.')})" if codes else ""
    raise InputError(
        f"the sources of {species.name} gave no picture that can be used: {found}{example}; "
        "mend the sources of this species in params.yaml"
    )


def _counts(codes: Counter) -> str:
    """Codes with their numbers, most frequent first: 3 not_an_image, 1 same_bytes."""
    ranked = sorted(codes.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} {code}" for code, number in ranked)


def _card(species: str, manifest: pd.DataFrame) -> dict:
    kept = manifest[manifest["kept"]]
    return {
        "stage": "collect",
        "species": species,
        # Rows that were not kept do not make another data set.
        "digest": digest_json(kept.drop(columns=["kept", "reason_code", "reason"]).to_dict("records")),
        "n_candidates": len(manifest),
        "n_kept": len(kept),
        "by_reason": dict(Counter(manifest.loc[~manifest["kept"], "reason_code"])),
    }


def _lines(card: dict) -> tuple[str, ...]:
    first = f"collect {card['species']}: {card['n_kept']} of {card['n_candidates']} files kept"
    dropped = _counts(Counter(card["by_reason"]))
    return (f"{first}; not kept: {dropped}" if dropped else first,)
