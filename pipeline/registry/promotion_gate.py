"""The promotion gate: does a new model version beat the champion?

Versions are compared by the primary metric, and only where both were measured in the same way: same prompts, seeds and
sampler settings, same CLIP, same other species.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.core.releases import ModelVersion

SHARES = ("species_accuracy", "memorised")
MEASURED_BY = {  # tag of a version -> what differs when the tags of two versions do
    "primary": "were chosen by different metrics",
    "suite_digest": "were sampled with different prompts, seeds or sampler settings",
    "clip_digest": "were measured with different CLIP models",
    "compared_with": "were told apart from different other species",
}


@dataclass(frozen=True)
class Verdict:
    """`beats`: it beats the champion; the sentence has the numbers."""

    beats: bool
    sentence: str


def compare(new: ModelVersion, champion: ModelVersion | None, min_gain: float) -> Verdict:
    """Compare a version with the champion; it must be better by more than `min_gain`."""
    if champion is None:
        return Verdict(True, "there was no champion")
    if champion.number == new.number:
        return Verdict(False, f"version {new.number} is the champion already")
    if difference := _measured_differently(new, champion):
        both = f"version {new.number} and the champion (version {champion.number})"
        return Verdict(False, f"{both} {difference}, so their numbers cannot be compared: look at both galleries")
    metric = new.tags["primary"]
    ours, theirs = (float(version.tags[f"metric.{metric}"]) for version in (new, champion))
    beats = ours > theirs + min_gain
    margin = f" by more than {metric_text(metric, min_gain, 1)}" if min_gain else ""
    same_data = new.tags.get("dataset_digest") == champion.tags.get("dataset_digest")
    sentence = (
        f"{metric_title(metric)} {metric_text(metric, ours, 1)} {'beats' if beats else 'does not beat'} "
        f"{metric_text(metric, theirs, 1)} of version {champion.number}{margin}"
    )
    return Verdict(beats, sentence + ("" if same_data else _OTHER_DATA))


_OTHER_DATA = " (the data set is another one, and so are its held-out pictures)"


def metric_text(metric: str, value: float, digits: int = 0) -> str:
    """A share in percent, anything else as a number."""
    return f"{100 * value:.{digits}f} %" if metric in SHARES else f"{value:.3f}"


def metric_title(metric: str) -> str:
    return {"clip_i": "CLIP-I", "clip_t": "CLIP-T"}.get(metric, metric.replace("_", " "))


def _measured_differently(new: ModelVersion, champion: ModelVersion) -> str:
    return next((how for tag, how in MEASURED_BY.items() if new.tags.get(tag) != champion.tags.get(tag)), "")
