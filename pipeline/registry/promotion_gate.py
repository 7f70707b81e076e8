"""The promotion gate: does a new model version beat the champion?

Versions are compared by the primary metric, and only where both were measured in the same way: same prompts, seeds and
sampler settings, same CLIP, same other species.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.core.metric_spec import metric_spec
from pipeline.core.params import Register
from pipeline.core.releases import ModelVersion

MEASURED_BY = {  # tag of a version -> what differs when the tags of two versions do
    "primary": "were chosen by different metrics",
    "suite_digest": "were sampled with different prompts, seeds or sampler settings",
    "clip_digest": "were measured with different CLIP models",
    "compared_with": "were told apart from different other species",
}
OTHER_DATA = " (the data set is another one, and so are its held-out pictures)"


@dataclass(frozen=True)
class Verdict:
    """`beats`: it beats the champion; the sentence has the numbers."""

    beats: bool
    sentence: str


def compare(new: ModelVersion, champion: ModelVersion | None, limits: Register) -> Verdict:
    """Compare a version with the champion; it must be better by more than `min_gain`, or reach the floor of a first."""
    if champion is None:
        below = "; ".join(_below_floor(new, limits))
        return Verdict(False, f"{below}, so it stays challenger") if below else Verdict(True, "there was no champion")
    if champion.number == new.number:
        return Verdict(False, f"version {new.number} is the champion already")
    if difference := _measured_differently(new, champion):
        both = f"version {new.number} and the champion (version {champion.number})"
        return Verdict(False, f"{both} {difference}, so their numbers cannot be compared: look at both galleries")
    metric = metric_spec(new.tags["primary"])
    ours, theirs = (float(version.tags[f"metric.{metric.name}"]) for version in (new, champion))
    beats = metric.oriented(ours) > metric.oriented(theirs) + limits.min_gain
    margin = f" by more than {metric.text(limits.min_gain, 1)}" if limits.min_gain else ""
    same_data = new.tags.get("dataset_digest") == champion.tags.get("dataset_digest")
    sentence = (
        f"{metric.title} {metric.text(ours, 1)} {'beats' if beats else 'does not beat'} "
        f"{metric.text(theirs, 1)} of version {champion.number}{margin}"
    )
    return Verdict(beats, sentence if same_data else sentence + OTHER_DATA)


def _below_floor(new: ModelVersion, limits: Register) -> Iterator[str]:
    """What a first champion would have to reach and does not; a version of 0.2.0 has no count of held-out pictures."""
    metric = metric_spec(new.tags["primary"])
    value, least = float(new.tags[f"metric.{metric.name}"]), limits.min_primary
    if least is not None and metric.oriented(value) < metric.oriented(least):
        relation = "below" if metric.direction == "higher" else "above"
        yield f"{metric.title} {metric.text(value, 1)} is {relation} register.min_primary ({metric.text(least, 1)})"
    held_out = int(new.tags.get("n_held_out", 0))
    if held_out < limits.min_held_out:
        yield f"{held_out} held-out pictures are fewer than register.min_held_out ({limits.min_held_out})"


def _measured_differently(new: ModelVersion, champion: ModelVersion) -> str:
    return next((how for tag, how in MEASURED_BY.items() if new.tags.get(tag) != champion.tags.get(tag)), "")
