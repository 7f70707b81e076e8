"""collect: request what the sources offer and keep it, byte for byte, with where it came from.

The one stage that reads the world outside the project. It checks files, not what they show: is this a picture by its
first bytes, does its licence allow its use, is it here already. What a picture shows is for `curate`.

A source that fails (it does not respond, its budget is used up, its responses have changed) is named in the summary and
stops no other: what it gave before stays in the data set, what the others give comes in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.data_params import Species
from pipeline.core.errors import BudgetError, InputError, ServiceError
from pipeline.core.lineage import digest_bytes, digest_json
from pipeline.core.param_types import SourceParams
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import MANIFEST_COLUMNS, Candidate, CollectedImage, Rejection, Report, StoredFile
from pipeline.io.files import atomic_write, parquet, previous_collection
from pipeline.io.files.previous_collection import PreviousCollection
from pipeline.io.images import codecs
from pipeline.io.terminal.progress_bars import Board
from pipeline.io.web import crawl_session
from pipeline.io.web.client import WebClient, credentials
from pipeline.io.web.downloads import DownloadStore, download_by_host
from pipeline.pages.credits import collection_credits
from pipeline.sources import source_of
from pipeline.sources.licence_policy import (
    refuse_disagreements,
    refuse_duplicates,
    refuse_licence,
    same_address,
    same_bytes,
    spelled,
)
from pipeline.sources.source import SourceContext

WAITING = "budget_used_up"  # not for good: the next run downloads it
RECONSIDERED = ("same_bytes", "sources_disagree", "licence_refused", "vanished")  # may not hold in a new session
HEAD_BYTES = 2048  # enough for the type of a file
NAMED = 5  # files that a line of the summary names


@dataclass
class Run:
    """What a run works with, and what its summary reports."""

    params: Params
    paths: Paths
    web: WebClient
    downloads: DownloadStore
    board: Board
    previous: PreviousCollection
    failed: dict[str, str] = field(default_factory=dict)  # by source: why it was not read to the end
    waiting: dict[str, Rejection] = field(default_factory=dict)  # by address or source: what comes on another day
    empty: list[str] = field(default_factory=list)  # sources that offered nothing at all
    vanished: list[str] = field(default_factory=list)  # images that are no longer offered

    @property
    def species(self) -> Species:
        return self.params.species[self.paths.species]


def collect(params: Params, paths: Paths) -> Report:
    """Fill `data/raw/<species>/`: original bytes, one manifest row per candidate, the evidence, credits, the card."""
    session = crawl_session.begin(paths.work / "collect" / paths.species)
    with ExitStack() as stack:
        run = Run(
            params,
            paths,
            stack.enter_context(WebClient(params.collect, paths.work / "http", session=session.name)),
            stack.enter_context(DownloadStore(paths.work / "downloads", session.name)),
            stack.enter_context(Board()),
            previous_collection.read(paths.raw),
        )
        folder = stack.enter_context(atomic_write.fresh_folder(paths.raw))

        # From cheap to expensive: what is offered, which of it is allowed, what has to be downloaded, what was there.
        offered = [image for source in run.species.sources for image in _offered(run, source, folder)]
        offered = _downloaded(run, refuse_disagreements(offered, same_address))
        images = [_with_first_evidence(run, image) for image in offered] + _no_longer_offered(run, offered)
        images = refuse_duplicates(refuse_disagreements(images, same_bytes))
        images = [_placed(run, image, folder) for image in images]

        card = _write(run, folder, images)
        if not run.waiting:
            run.downloads.forget_refusals()
            session.finish()
    return Report("collect", _summary(card, run), {"n_kept": card["n_kept"], "n_candidates": card["n_candidates"]})


def _offered(run: Run, params: SourceParams, folder: Path) -> Iterator[CollectedImage]:
    """The images of one source; when it fails, that is noted, and what it offered until then counts."""
    source, label, n = source_of(params), params.label, 0
    fetch = run.web.fetch if source.wants_contact else partial(run.web.fetch, anonymous=True)
    context = SourceContext(run.paths.root, run.params.seed, fetch, credentials(source.credentials))
    try:
        for n, (candidate, content) in enumerate(source.pictures(params, context), start=1):
            run.board.show(label, n, None, "listed")
            yield _checked(candidate, content, run.params.collect.licences, folder)
    except ServiceError as error:
        run.failed[label] = str(error)
        if isinstance(error, BudgetError):
            run.waiting[label] = Rejection("source", WAITING, str(error))
    if not n and label not in run.failed:
        run.empty.append(label)


def _checked(
    candidate: Candidate, content: bytes | Rejection | None, policy: tuple[str, ...], folder: Path
) -> CollectedImage:
    """The image by its licence and first bytes; bytes that are here and accepted are written into the data set."""
    image = CollectedImage(replace(candidate, licence=spelled(candidate.licence, policy)))
    if isinstance(content, Rejection):
        return image.rejected(content)
    refused = refuse_licence(image.candidate, policy)
    if content is None:
        return image.rejected(refused)
    if content:
        image = replace(image, file=StoredFile(digest_bytes(content), len(content)))
    refused = codecs.refuse(content) or refused
    return image.rejected(refused) if refused else _written(image, content, folder)


def _written(image: CollectedImage, content: bytes, folder: Path) -> CollectedImage:
    path = f"images/{image.sha256}.{codecs.FORMATS[codecs.sniff(content)]}"
    atomic_write.write_bytes(folder / path, content)
    return replace(image, path=path)


def _downloaded(run: Run, images: list[CollectedImage]) -> list[CollectedImage]:
    """The images, those that await their download with the file, or with the reason why there is none."""
    awaited: dict[str, list[CollectedImage]] = {}
    for image in images:
        if image.awaits_download:
            awaited.setdefault(image.candidate.image_url, []).append(image)
    for url in awaited:
        if run.downloads.find(url) is None and (found := run.previous.file(url)):
            stored, content = found
            run.downloads.keep(url, content, stored.final_url, stored.content_type)
    missing = [url for url in awaited if run.downloads.find(url) is None]
    progress = Progress(run, images, set(missing))
    for url in download_by_host(missing, run.web.connections, partial(_download, run)):
        progress.count([_with_file(run, image) for image in awaited[url]])
    return [_with_file_or_previous(run, image) if image.awaits_download else image for image in images]


def _download(run: Run, url: str) -> None:
    found = run.web.download(url)
    if not isinstance(found, Rejection):
        run.downloads.keep(url, found.content, found.url, found.content_type)
    elif found.code == WAITING:
        run.waiting[url] = found
    else:
        run.downloads.refuse(url, found)


def _with_file(run: Run, image: CollectedImage) -> CollectedImage:
    """An image after its download."""
    url = image.candidate.image_url
    found = run.downloads.find(url) or run.waiting[url]
    if isinstance(found, Rejection):
        return image.rejected(found)
    with run.downloads.path(found.sha256).open("rb") as stream:
        return replace(image, file=found).rejected(codecs.refuse(stream.read(HEAD_BYTES)))


def _with_file_or_previous(run: Run, image: CollectedImage) -> CollectedImage:
    """An image after its download; one that is still listed and cannot be downloaded now stays as it was."""
    image, before = _with_file(run, image), run.previous.images.get(image.key)
    if image.file or before is None or not before.path or image.candidate.licence != before.candidate.licence:
        return image
    run.vanished.append(image.candidate.source_id)
    return replace(before, path="")


def _with_first_evidence(run: Run, image: CollectedImage) -> CollectedImage:
    """An image whose metadata has not changed keeps its first evidence, so that the data set stays the same."""
    before = run.previous.images.get(image.key)
    evidence = before.candidate.evidence if before else ""
    same = before is not None and replace(image.candidate, evidence=evidence) == before.candidate
    return replace(image, candidate=before.candidate) if before and same and evidence else image


def _no_longer_offered(run: Run, offered: list[CollectedImage]) -> list[CollectedImage]:
    """Images of the previous collection that were not offered now, of sources whose params have not changed."""
    keys, kept = {image.key for image in offered}, []
    for params in run.species.sources:
        complete = params.label not in run.failed
        removed = complete and not source_of(params).keeps_vanished  # it was taken out of a folder or a list
        if removed or run.previous.sources.get(params.label) != digest_json(params):
            continue
        for key, image in run.previous.images.items():
            if key[0] == params.label and key not in keys:
                kept.append(_reconsidered(run, image, vanished=complete))
    return kept


def _reconsidered(run: Run, image: CollectedImage, *, vanished: bool) -> CollectedImage:
    """An image of the previous collection by the params and the other images of today."""
    if vanished and image.path:
        run.vanished.append(image.candidate.source_id)
    if vanished and run.params.collect.drop_vanished:
        return image.rejected(Rejection("collect", "vanished", "Its source no longer offers it."))
    if refused := refuse_licence(image.candidate, run.params.collect.licences):
        return image.rejected(refused)
    before = image.rejection
    return replace(image, path="", rejection=None if before and before.code in RECONSIDERED and image.file else before)


def _placed(run: Run, image: CollectedImage, folder: Path) -> CollectedImage:
    """The image with its file in the data set, where it is kept and not there already."""
    if image.rejection or image.path or not image.file:
        return image
    content = run.downloads.content(image.file.sha256) or run.previous.content(image.file.sha256)
    if content is None:
        sentence = "Its file was damaged on disk; `paleo collect` downloads it again."
        return image.rejected(Rejection("store", "lost", sentence))
    return _written(image, content, folder)


def _write(run: Run, folder: Path, images: list[CollectedImage]) -> dict[str, Any]:
    """Manifest, evidence, credits and card; InputError when no image is kept."""
    rows = pd.DataFrame([image.row() for image in images], columns=list(MANIFEST_COLUMNS)).astype(MANIFEST_COLUMNS)
    manifest = rows.sort_values(["source", "source_id"], kind="stable", ignore_index=True)
    kept = manifest[manifest["kept"]]
    if kept.empty:
        raise InputError(_nothing_kept(manifest, run))
    parquet.write(folder / "manifest.parquet", manifest)
    for sha256 in set(manifest["evidence"]) - {""}:
        content = run.previous.evidence(sha256) or run.web.evidence(sha256)
        atomic_write.write_bytes(folder / "evidence" / f"{sha256}.json", content)
    atomic_write.write_text(folder / "CREDITS.md", collection_credits(run.species.name, kept.to_dict("records")))
    card = {
        "stage": "collect",
        "species": run.paths.species,
        # Rows that were not kept do not make another data set, nor does the response that the same facts came in.
        "digest": digest_json(kept.drop(columns=["kept", "reason_code", "reason", "evidence"]).to_dict("records")),
        "sources": {source.label: digest_json(source) for source in run.species.sources},
        "n_candidates": len(manifest),
        "n_kept": len(kept),
        "by_reason": dict(Counter(manifest.loc[~manifest["kept"], "reason_code"])),
    }
    atomic_write.write_card(folder, **card)
    return card


class Progress:
    """How far each source is while its images are downloaded: kept, waiting, and every reason for a rejection."""

    def __init__(self, run: Run, images: Iterable[CollectedImage], missing: set[str]) -> None:
        self._run = run
        self._hosts = {params.label: source_of(params).hosts for params in run.species.sources}
        self._counts: dict[str, Counter[str]] = {}
        for image in images:
            waits = image.awaits_download and image.candidate.image_url in missing
            counts = self._counts.setdefault(image.candidate.source, Counter())
            counts["waiting" if waits else image.rejection.code if image.rejection else "kept"] += 1
        for source in self._counts:
            self._show(source)

    def count(self, images: Iterable[CollectedImage]) -> None:
        """One more address was downloaded or refused; several images may share it."""
        for image in images:
            self._counts[image.candidate.source]["waiting"] -= 1
            self._counts[image.candidate.source][image.rejection.code if image.rejection else "kept"] += 1
            self._show(image.candidate.source)

    def _show(self, source: str) -> None:
        counts = self._counts[source]
        waiting, total = counts["waiting"], counts.total()
        refused = Counter({code: n for code, n in counts.items() if code not in ("kept", "waiting") and n})
        left = [self._run.web.budget_left(host) for host in self._hosts.get(source, ())]
        words = [f"{counts['kept']} kept", _ranked(refused), f"{waiting} waiting" if waiting else ""]
        words += [f"{requests} requests left today" for requests in left if requests is not None]
        self._run.board.show(source, total - waiting, total, ", ".join(filter(None, words)))


def _nothing_kept(manifest: pd.DataFrame, run: Run) -> str:
    codes = _ranked(Counter(manifest["reason_code"]))
    found = f"{len(manifest)} files, of them {codes}" if codes else "nothing at all"
    example = f" ({manifest['source_id'].iloc[0]}: {manifest['reason'].iloc[0].rstrip('.')})" if codes else ""
    failed = "".join(f"; {source} was skipped: {reason.rstrip('.')}" for source, reason in run.failed.items())
    mend = "correct the sources of this species in params.yaml"
    if run.failed and not codes:
        mend = f"check the network connection and run this again, or {mend}"
    return f"the sources of {run.species.name} gave no picture that can be used: {found}{example}{failed}; {mend}"


def _ranked(codes: Counter[str]) -> str:
    """Codes with their numbers, most frequent first: 3 not_an_image, 1 same_bytes."""
    ranked = sorted(codes.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} {code}" for code, number in ranked)


def _summary(card: dict[str, Any], run: Run) -> tuple[str, ...]:
    first = f"collect {card['species']}: {card['n_kept']} of {card['n_candidates']} files kept"
    dropped = _ranked(Counter(card["by_reason"]))
    lines = [f"{first}; not kept: {dropped}" if dropped else first]
    lines += [f"skipped {source}: {reason}" for source, reason in run.failed.items()]
    lines += [f"{source} offered nothing; check its entry in params.yaml" for source in run.empty]
    if run.vanished:
        names = sorted(run.vanished)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        what = "left the data set" if run.params.collect.drop_vanished else "they stay in the data set"
        lines.append(f"no longer offered: {', '.join(names[:NAMED])}{more}; {what}")
    if waiting := card["by_reason"].get(WAITING):
        reasons = (refused.sentence for url, refused in run.waiting.items() if url not in run.failed)
        reason = next(reasons, "they are of an earlier run; run this again.")  # of a source that failed this time
        lines.append(f"waiting: {waiting} picture{'' if waiting == 1 else 's'}: {reason}")
    return tuple(lines)
