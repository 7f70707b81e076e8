"""collect: look at the sources and keep what they offer, byte for byte, with where it came from.

The one stage that looks at the world. It judges files, not pictures: is this a picture by its first bytes, may it be
used, do we have it already. What a picture shows is for `curate`.

A source that fails (it does not answer, its budget is used up, its answers have changed) is named in the summary and
stops nobody: what it gave before stays in the data set, what the others give comes in.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd

from pipeline.core.errors import BudgetError, InputError, ServiceError
from pipeline.core.lineage import digest_bytes, digest_json
from pipeline.core.params import Params, Species
from pipeline.core.paths import Paths
from pipeline.core.records import Candidate, Rejection, Report
from pipeline.core.source_params import API_HOSTS, Source
from pipeline.io.files import atomic_write, parquet, previous_collection
from pipeline.io.images import codecs
from pipeline.io.terminal.progress_bars import Board
from pipeline.io.web import crawl_session
from pipeline.io.web.client import WebClient
from pipeline.io.web.downloads import DownloadStore, by_host
from pipeline.pages.credits import collection_credits
from pipeline.sources import SOURCES, Offer, licence_policy

Row = licence_policy.Row
COLUMNS = {
    "source": "str",
    "source_id": "str",
    "image_url": "str",
    "page_url": "str",
    "title": "str",
    "caption": "str",
    "author": "str",
    "licence": "str",
    "licence_url": "str",
    "author_url": "str",
    "licence_text": "str",
    "shows": "str",
    "taxon": "str",
    "evidence": "str",
    "final_url": "str",
    "content_type": "str",
    "sha256": "str",
    "path": "str",
    "bytes": "int64",
    "kept": "bool",
    "reason_code": "str",
    "reason": "str",
}
UNJUDGED: Row = {
    "final_url": "",
    "content_type": "",
    "sha256": "",
    "path": "",
    "bytes": 0,
    "reason_code": "",
    "reason": "",
}
WAITING = "budget_used_up"  # not for good: the next run goes on with it
REJUDGED = ("same_bytes", "sources_disagree", "licence_refused", "vanished")  # reasons that a new look may take back
HEAD_BYTES = 2048  # enough to see what kind of file it is
NAMED = 5  # files that a line of the summary names


@dataclass
class Collecting:
    """One run: what is at hand, and what is to be said at its end."""

    params: Params
    paths: Paths
    web: WebClient
    downloads: DownloadStore
    board: Board
    skipped: dict[str, str] = field(default_factory=dict)  # by source: why it was not heard to the end
    waiting: dict[str, Rejection] = field(default_factory=dict)  # by address or source: what goes on another day
    silent: list[str] = field(default_factory=list)  # sources that offered nothing at all
    vanished: list[str] = field(default_factory=list)
    tally: dict[str, Counter] = field(default_factory=dict)  # by source: kept, waiting, and every reason

    @property
    def species(self) -> Species:
        return self.params.species[self.paths.species]


def collect(params: Params, paths: Paths) -> Report:
    """Fill `data/raw/<species>/`: original bytes, one manifest row per candidate, the evidence, credits, the card."""
    look = crawl_session.begin(paths.work / "collect" / paths.species)
    with ExitStack() as stack:
        run = Collecting(
            params,
            paths,
            stack.enter_context(WebClient(params.collect, paths.work / "http", look=look.name)),
            stack.enter_context(DownloadStore(paths.work / "downloads", look.name)),
            stack.enter_context(Board()),
        )
        folder = stack.enter_context(atomic_write.fresh_folder(paths.raw))
        manifest = _manifest(_rows(run, folder))
        _demand_pictures(manifest, run)
        card = _write(run, folder, manifest)
        if not run.waiting:
            run.downloads.forget_refusals()
            look.finish()
    return Report("collect", _lines(card, run), {"n_kept": card["n_kept"], "n_candidates": card["n_candidates"]})


def _rows(run: Collecting, folder: Path) -> list[Row]:
    """From cheap to dear: what sources offer, what they may give, what has to be fetched, what we have already."""
    past = previous_collection.read(run.paths.raw)
    rows = [row for source in run.species.sources for row in _offered(run, source, folder)]
    rows = _without_disagreement(rows, "image_url")
    rows = _with_the_past(run, _fetched(run, rows, past), past)
    rows = _without_disagreement(rows, "sha256")
    for place, refused in licence_policy.again(rows).items():
        rows[place] = _refused(rows[place], refused)
    rows = [_laid_out(run, row, folder, past) for row in rows]
    _write_evidence(run, rows, folder, past)
    return rows


def _offered(run: Collecting, source: Source, folder: Path) -> Iterator[Row]:
    """The candidates of one source; a source that fails is noted, and what it said until then counts."""
    count = 0
    try:
        for count, (candidate, content) in enumerate(_walk(run, source), start=1):
            run.board.show(source.label, count, None, "listed")
            yield _row(candidate, content, run.params.collect.licences, folder)
    except ServiceError as error:
        run.skipped[source.label] = str(error)
        if isinstance(error, BudgetError):
            run.waiting[source.label] = Rejection("source", WAITING, str(error))
    if not count and source.label not in run.skipped:
        run.silent.append(source.label)


def _walk(run: Collecting, source: Source) -> Iterator[Offer]:
    walk = SOURCES[source.kind]
    if source.kind == "openverse":
        names = run.params.collect.openverse
        pair = os.environ.get(names.client_id_variable, ""), os.environ.get(names.client_secret_variable, "")
        walk = partial(walk, credentials=pair if all(pair) else None)
    return walk(source, run.paths.root, run.params.seed, run.web.ask)


def _row(candidate: Candidate, content: bytes | Rejection | None, policy: tuple[str, ...], folder: Path) -> Row:
    """A manifest row; content that is here already is written down, content that is not is waited for."""
    candidate = replace(candidate, licence=licence_policy.spelled(candidate.licence, policy))
    row = {**asdict(candidate), **UNJUDGED}
    if isinstance(content, Rejection):
        return _refused(row, content)
    if content is not None:
        row |= {"sha256": digest_bytes(content) if content else "", "bytes": len(content)}
    refused = (codecs.refuse(content) if content is not None else None) or licence_policy.refuse_licence(
        candidate, policy
    )
    if refused:
        return _refused(row, refused)
    if content is not None:
        row["path"] = _place(row["sha256"], content)
        atomic_write.write_bytes(folder / row["path"], content)
    return row


def _place(sha256: str, content: bytes) -> str:
    return f"images/{sha256}.{codecs.FORMATS[codecs.sniff(content)]}"


def _refused(row: Row, refused: Rejection) -> Row:
    return {**row, "reason_code": refused.code, "reason": refused.sentence}


def _without_disagreement(rows: list[Row], key: str) -> list[Row]:
    found = licence_policy.disagreements(rows, key)
    refusals = [None if row["reason_code"] else licence_policy.disagreement(row, key, found) for row in rows]
    return [_refused(row, refused) if refused else row for row, refused in zip(rows, refusals)]


def _fetched(run: Collecting, rows: list[Row], past: previous_collection.PreviousCollection) -> list[Row]:
    """Every row that waits for its bytes gets them, or the reason why there are none."""
    waiting: dict[str, list[Row]] = {}
    for row in rows:
        if _waits(row):
            waiting.setdefault(row["image_url"], []).append(row)
    for url in waiting:
        if run.downloads.known(url) is None and (content := past.content(url)):
            run.downloads.keep(url, content, past.stored[url]["final_url"], past.stored[url]["content_type"])
    missing = [url for url in waiting if run.downloads.known(url) is None]
    _start_tally(run, rows, set(missing))
    for url, future in by_host(missing, partial(_connections, run.params), partial(_download, run)):
        future.result()
        _count(run, waiting[url])
    return [_or_before(run, _with_bytes(run, row), past) if _waits(row) else row for row in rows]


def _waits(row: Row) -> bool:
    return not row["reason_code"] and not row["sha256"]


def _connections(params: Params, host: str) -> int:
    hosts = params.collect.hosts
    return min(hosts.get(host, hosts["default"]).connections, params.collect.download.connections)


def _download(run: Collecting, url: str) -> None:
    found = run.web.download(url)
    if not isinstance(found, Rejection):
        run.downloads.keep(url, found.content, found.url, found.content_type)
    elif found.code == WAITING:
        run.waiting[url] = found
    else:
        run.downloads.refuse(url, found)


def _with_bytes(run: Collecting, row: Row) -> Row:
    """The row of a picture that was fetched, or could not be."""
    found = run.downloads.known(row["image_url"]) or run.waiting[row["image_url"]]
    if isinstance(found, Rejection):
        return _refused(row, found)
    row = {
        **row,
        "sha256": found.sha256,
        "bytes": found.size_bytes,
        "final_url": found.final_url,
        "content_type": found.content_type,
    }
    with run.downloads.path(found.sha256).open("rb") as stream:
        refused = codecs.refuse(stream.read(HEAD_BYTES))
    return _refused(row, refused) if refused else row


def _or_before(run: Collecting, row: Row, past: previous_collection.PreviousCollection) -> Row:
    """A picture that is still listed and cannot be fetched now stays as it was."""
    before = past.rows.get((row["source"], row["source_id"]))
    if row["sha256"] or before is None or not before["path"] or row["licence"] != before["licence"]:
        return row
    run.vanished.append(row["source_id"])
    return {**before, "path": ""}


def _start_tally(run: Collecting, rows: list[Row], missing: set[str]) -> None:
    for row in rows:
        waits = _waits(row) and row["image_url"] in missing
        counts = run.tally.setdefault(row["source"], Counter())
        counts["waiting" if waits else row["reason_code"] or "kept"] += 1
    for source in run.tally:
        _show(run, source)


def _count(run: Collecting, rows: list[Row]) -> None:
    """One address more is settled; it may stand in several rows."""
    for row in rows:
        counts = run.tally[row["source"]]
        counts["waiting"] -= 1
        counts[_with_bytes(run, row)["reason_code"] or "kept"] += 1
        _show(run, row["source"])


def _show(run: Collecting, source: str) -> None:
    counts = run.tally[source]
    total = counts.total()
    refused = Counter({code: n for code, n in counts.items() if code not in ("kept", "waiting") and n})
    words = [f"{counts['kept']} kept", _counts(refused), f"{counts['waiting']} waiting" if counts["waiting"] else ""]
    host = API_HOSTS.get(source.partition(":")[0])
    left = run.web.budget_left(host) if host else None
    words.append("" if left is None else f"{left} requests left today")
    run.board.show(source, total - counts["waiting"], total, ", ".join(filter(None, words)))


def _with_the_past(run: Collecting, rows: list[Row], past: previous_collection.PreviousCollection) -> list[Row]:
    """What has not changed keeps its first evidence; what a source no longer offers, or cannot give now, stays."""
    rows = [_settled(row, past.rows.get((row["source"], row["source_id"]))) for row in rows]
    offered = {(row["source"], row["source_id"]) for row in rows}
    return [*rows, *(row for source in run.species.sources for row in _kept_on(run, source, past, offered))]


def _settled(row: Row, before: Row | None) -> Row:
    if before is None:
        return row
    same = all(row[key] == before[key] for key in previous_collection.FACTS)
    return {**row, "evidence": before["evidence"]} if same and before["evidence"] else row


def _kept_on(
    run: Collecting, source: Source, past: previous_collection.PreviousCollection, offered: set
) -> Iterator[Row]:
    """Rows of the collection before that this look did not bring, of a source that is asked the same as then."""
    if past.sources.get(source.label) != digest_json(source):
        return
    heard = source.label not in run.skipped
    if heard and source.kind not in API_HOSTS:  # who takes a file out of a folder or a list means it
        return
    for key, row in past.rows.items():
        if key[0] == source.label and key not in offered:
            yield _judged_again(run, row, vanished=heard)


def _judged_again(run: Collecting, row: Row, *, vanished: bool) -> Row:
    policy = run.params.collect.licences
    if vanished and row["path"]:
        run.vanished.append(row["source_id"])
    if vanished and run.params.collect.drop_vanished:
        return _refused({**row, "path": ""}, Rejection("look", "vanished", "Its source no longer offers it."))
    refused = licence_policy.refuse_licence(
        Candidate(**{key: row[key] for key in (*previous_collection.FACTS, "evidence")}), policy
    )
    if refused:
        return _refused({**row, "path": ""}, refused)
    judged = row["reason_code"] in REJUDGED and row["sha256"]
    return {**row, "path": "", **({"reason_code": "", "reason": ""} if judged else {})}


def _laid_out(run: Collecting, row: Row, folder: Path, past: previous_collection.PreviousCollection) -> Row:
    """Put the bytes of a kept row into the data set."""
    if row["reason_code"]:
        return {**row, "path": ""}
    if row["path"]:
        return row
    content = run.downloads.content(row["sha256"]) or past.by_sha256(row["sha256"])
    if content is None:
        sentence = "Its file was damaged on disk; `paleo collect` fetches it again."
        return _refused(row, Rejection("store", "lost", sentence))
    path = _place(row["sha256"], content)
    atomic_write.write_bytes(folder / path, content)
    return {**row, "path": path}


def _write_evidence(
    run: Collecting, rows: list[Row], folder: Path, past: previous_collection.PreviousCollection
) -> None:
    for sha256 in {row["evidence"] for row in rows if row["evidence"]}:
        content = past.evidence(sha256) or run.web.evidence(sha256)
        atomic_write.write_bytes(folder / "evidence" / f"{sha256}.json", content)


def _manifest(rows: list[Row]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).assign(kept=[not row["reason_code"] for row in rows])
    return frame.astype(COLUMNS).sort_values(["source", "source_id"], kind="stable", ignore_index=True)


def _demand_pictures(manifest: pd.DataFrame, run: Collecting) -> None:
    if manifest["kept"].any():
        return
    codes = _counts(Counter(manifest["reason_code"]))
    found = f"{len(manifest)} files, of them {codes}" if codes else "nothing at all"
    example = f" ({manifest['source_id'].iloc[0]}: {manifest['reason'].iloc[0].rstrip('.')})" if codes else ""
    silent = "".join(f"; {source} was skipped: {why.rstrip('.')}" for source, why in run.skipped.items())
    raise InputError(
        f"the sources of {run.species.name} gave no picture that can be used: {found}{example}{silent}; "
        "mend the sources of this species in params.yaml"
    )


def _counts(codes: Counter) -> str:
    """Codes with their numbers, most frequent first: 3 not_an_image, 1 same_bytes."""
    ranked = sorted(codes.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number} {code}" for code, number in ranked)


def _write(run: Collecting, folder: Path, manifest: pd.DataFrame) -> dict:
    parquet.write(folder / "manifest.parquet", manifest)
    kept = manifest[manifest["kept"]]
    atomic_write.write_text(folder / "CREDITS.md", collection_credits(run.species.name, kept.to_dict("records")))
    card = {
        "stage": "collect",
        "species": run.paths.species,
        # Rows that were not kept do not make another data set, nor does where the same facts were read.
        "digest": digest_json(kept.drop(columns=["kept", "reason_code", "reason", "evidence"]).to_dict("records")),
        "sources": {source.label: digest_json(source) for source in run.species.sources},
        "n_candidates": len(manifest),
        "n_kept": len(kept),
        "by_reason": dict(Counter(manifest.loc[~manifest["kept"], "reason_code"])),
    }
    atomic_write.write_card(folder, **card)
    return card


def _lines(card: dict, run: Collecting) -> tuple[str, ...]:
    first = f"collect {card['species']}: {card['n_kept']} of {card['n_candidates']} files kept"
    dropped = _counts(Counter(card["by_reason"]))
    lines = [f"{first}; not kept: {dropped}" if dropped else first]
    lines += [f"skipped {source}: {why}" for source, why in run.skipped.items()]
    lines += [f"{source} offered nothing; check its entry in params.yaml" for source in run.silent]
    if run.vanished:
        what = "left the data set" if run.params.collect.drop_vanished else "they stay in the data set"
        lines.append(f"no longer offered: {_named(run.vanished)}; {what}")
    if waiting := card["by_reason"].get(WAITING):
        told = (refused.sentence for url, refused in run.waiting.items() if url not in run.skipped)
        why = next(told, "they are of an earlier run; run this again.")  # of a source that was skipped this time
        lines.append(f"waiting: {waiting} picture{'' if waiting == 1 else 's'}: {why}")
    return tuple(lines)


def _named(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
