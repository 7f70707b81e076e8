"""`paleo review`: a page to judge pictures by eye, and the verdicts given there into `data/reviews/<species>.csv`.

No stage of the graph: a person's verdicts are an input, kept in git. `curate` reads them, and they outrank every score.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from pipeline.core.errors import InputError
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Report
from pipeline.curation.all_checks import all_checks
from pipeline.io.files import atomic_write, parquet, reviews, site_files
from pipeline.pages import counted
from pipeline.pages.review import SHOWN, ordered, review_page

NAMED = 3  # unknown pictures in a message


def review(params: Params, paths: Paths) -> Report:
    """Write the page `.work/review/<species>/index.html`, which opens from disk.

    Raises
    ------
    InputError
        When nothing is curated yet, or the reviews so far cannot be read.
    """
    curated, shown_in = _newest(paths)
    verdicts, digest = parquet.read(curated / "verdicts.parquet"), atomic_write.read_card(curated)["digest"]
    given = reviews.read(paths.reviews)
    shown = ordered(verdicts).head(SHOWN)

    page = review_page(
        params.species[paths.species].name,
        paths.species,
        digest,
        verdicts,
        given,
        check_reasons=[reason for check in all_checks().values() for reason in check.review_reasons(params.curate)],
        larger=_larger(shown, paths),
    )

    with atomic_write.fresh_folder(_folder(paths)) as folder:
        names = [f"thumbs/{sha256}.webp" for sha256 in shown["sha256"]]
        site_files.add_files({name: shown_in / name for name in names}, folder)
        atomic_write.write_text(folder / "index.html", page)
    return Report("review", _page_lines(shown, given, paths))


def take_over(params: Params, paths: Paths, file: Path) -> Report:
    """Merge a saved CSV into `data/reviews/<species>.csv`; of two verdicts on a picture the later one stands.

    Verdicts on pictures that this species does not have are left out and named.

    Raises
    ------
    InputError
        When the file is missing, is no such table, or names none of the pictures.
    """
    if not file.is_file():
        raise InputError(f"{file} is not there; save it on the page of `paleo review {paths.species}` first")
    theirs, ours = reviews.read(file), reviews.read(paths.reviews)
    known = theirs["sha256"].isin(_known(paths) | set(ours["sha256"]))
    if not known.any():
        raise InputError(_nothing_to_import(file, len(theirs), paths))

    together = reviews.merge(ours, theirs[known])
    if not together.equals(ours):
        reviews.write(paths.reviews, together)
    return Report("review", _import_lines(ours, together, list(theirs[~known]["sha256"]), file, paths))


def _newest(paths: Paths) -> tuple[Path, Path]:
    """Where the table of verdicts and the thumbnails lie: of the curated set, or else of one that was refused."""
    refused = paths.work / "curate" / paths.species / "refused"  # people must review what left nothing to train on
    for curated, shown_in in ((paths.curated, paths.curation), (refused, refused)):
        if (curated / atomic_write.CARD).is_file():
            return curated, shown_in
    raise InputError(
        f"there are no curated pictures of {paths.species} to review; run `paleo curate {paths.species}` first"
    )


def _folder(paths: Paths) -> Path:
    return paths.work / "review" / paths.species


def _larger(shown: pd.DataFrame, paths: Paths) -> dict[str, str]:
    """By sha256, the address of the collected file from the page, where a browser can show it."""
    up = "../" * len(_folder(paths).relative_to(paths.root).parts)
    files = {row.sha256: paths.raw / row.path for row in shown.itertuples()}
    return {
        sha256: up + quote(file.relative_to(paths.root).as_posix())
        for sha256, file in files.items()
        if file.suffix.lower() in site_files.SHOWN_BY_BROWSERS and file.is_file()
    }


def _known(paths: Paths) -> set[str]:
    """The sha256 of every picture that is or was stored for this species, by the tables on disk."""
    files = [path for path in (paths.curated / "verdicts.parquet", paths.raw / "manifest.parquet") if path.is_file()]
    if not files:
        raise InputError(f"nothing is collected for {paths.species}; run `paleo curate {paths.species}` first")
    return {sha256 for file in files for sha256 in parquet.read(file)["sha256"] if sha256}


def _nothing_to_import(file: Path, n: int, paths: Paths) -> str:
    if not n:
        return f"{file} holds no verdict; press s on the page of `paleo review {paths.species}` to save yours"
    return (
        f"none of the {counted(n, 'picture')} in {file} was collected for {paths.species}; "
        "is it the review of another species?"
    )


def _page_lines(shown: pd.DataFrame, given: pd.DataFrame, paths: Paths) -> tuple[str, ...]:
    page = (_folder(paths) / "index.html").relative_to(paths.root)
    doubtful = int((shown["uncertain"] != "").sum())
    judged = int(shown["sha256"].isin(given["sha256"]).sum())
    return (
        f"{page}: {counted(len(shown), 'picture')}, {doubtful} uncertain ones first, {judged} judged by people so far",
        f"open it in a browser: k keeps, d drops, w says why, u undoes, ? shows all keys; s saves {paths.species}.csv",
        f"then: paleo review {paths.species} --import ~/Downloads/{paths.species}.csv",
    )


def _import_lines(
    ours: pd.DataFrame, together: pd.DataFrame, unknown: Sequence[str], file: Path, paths: Paths
) -> tuple[str, ...]:
    target = paths.reviews.relative_to(paths.root)
    new = len(together) - len(ours)
    changed = len(_rows(together) - _rows(ours)) - new
    counts = together["verdict"].value_counts()
    first = f"{target}: {new} new, {changed} changed; {counts.get('keep', 0)} to keep, {counts.get('drop', 0)} to drop"
    then = f"then: git add {target} && paleo run {paths.species}"
    return (*_unknown_lines(unknown, file, paths), first, *([then] if new or changed else []))


def _rows(reviews: pd.DataFrame) -> set[tuple[str, ...]]:
    return set(reviews.itertuples(index=False, name=None))


def _unknown_lines(unknown: Sequence[str], file: Path, paths: Paths) -> list[str]:
    """One sentence about the pictures that are not of this species, nothing when there are none."""
    if not unknown:
        return []
    names = ", ".join(f"{sha256[:12]}…" for sha256 in unknown[:NAMED])
    more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
    verb = "is" if len(unknown) == 1 else "are"
    return [
        f"warning: {counted(len(unknown), 'picture')} in {file} {verb} not among those collected for {paths.species} "
        f"and {verb} left out: {names}{more}; the others are taken over"
    ]
