"""Licence policy: which images may be kept by their licences, by contradictions among sources, and as duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from pipeline.core.licences import accepted
from pipeline.core.reason_codes import ReasonCode
from pipeline.core.records import Candidate, CollectedImage, Rejection

LICENSED = "with a licence that is allowed"
CODES = (
    ReasonCode("licence_missing", LICENSED, "Licence missing"),
    ReasonCode("licence_unknown", LICENSED, "Licence unknown"),
    ReasonCode("licence_refused", LICENSED, "Licence refused"),
    ReasonCode("sources_disagree", LICENSED, "Sources disagree"),
    ReasonCode("same_bytes", "each file once", "Same bytes"),
)


def spelled(licence: str, known: Sequence[str]) -> str:
    """A licence as params.yaml spells it: SPDX names mean the same in capitals and small letters."""
    return next((name for name in known if name.casefold() == licence.strip().casefold()), licence.strip())


def refuse_licence(candidate: Candidate, policy: Sequence[str]) -> Rejection | None:
    """Absent, unknown, or not on the allow-list."""
    allowed = f"accepted are {', '.join(policy) or 'none'} (collect.licences in params.yaml)"
    if not candidate.licence and not candidate.licence_text.strip():
        return Rejection("licence", "licence_missing", f"It names no licence; {allowed}.")
    if not candidate.licence:
        text = " ".join(candidate.licence_text.split())[:80]
        return Rejection("licence", "licence_unknown", f"The licence {text!r} is not a known one; {allowed}.")
    if not accepted(candidate.licence, policy):
        return Rejection("licence", "licence_refused", f"Its licence is {candidate.licence!r}; {allowed}.")
    return None


def same_address(image: CollectedImage) -> str:
    """One spelling of an image's address: http and https lead to the same picture, a fragment changes nothing."""
    address = image.candidate.image_url
    if "://" not in address:
        return address
    parts = urlsplit(address)
    return f"{parts.netloc.casefold()}{parts.path}?{parts.query}"


def same_bytes(image: CollectedImage) -> str:
    return image.sha256 or ""


def refuse_disagreements(
    images: Iterable[CollectedImage], identity: Callable[[CollectedImage], str]
) -> list[CollectedImage]:
    """Reject images that two sources offer under different licences; two images are the same by `identity`.

    There is no telling which of the two licences is right, so neither copy is taken. A source that names no licence
    contradicts nothing.
    """
    images = list(images)
    licences: dict[str, dict[str, str]] = defaultdict(dict)  # by identity: by source
    for image in images:
        if identity(image) and image.candidate.licence:
            licences[identity(image)].setdefault(image.candidate.source, image.candidate.licence)
    found = {key: _disagree(named) for key, named in licences.items() if len(set(named.values())) > 1}

    def refused(image: CollectedImage) -> Rejection | None:
        return found.get(identity(image)) if image.candidate.licence and not image.rejection else None

    return [image.rejected(refused(image)) for image in images]


def refuse_duplicates(images: Iterable[CollectedImage]) -> list[CollectedImage]:
    """Reject images whose bytes an earlier one has that is kept."""
    first: dict[str, CollectedImage] = {}
    checked = []
    for image in images:
        if image.file and not image.rejection:
            original = first.setdefault(image.file.sha256, image)
            if original is not image:
                sentence = f"It is the very file of {original.candidate.source_id!r}, byte for byte."
                image = image.rejected(Rejection("bytes", "same_bytes", sentence))
        checked.append(image)
    return checked


def _disagree(by_source: Mapping[str, str]) -> Rejection:
    licences = ", ".join(f"{source} says {licence}" for source, licence in by_source.items())
    return Rejection("licence", "sources_disagree", f"{licences}: which is right is unknown, so it is not taken.")
