"""Which version is the champion: the comparison, and the move as a small transaction.

MLflow's aliases have no history and no gate. So a promotion first writes who, when, from what and why on the version,
then one line on the registered model (its history), then moves the alias, and last marks itself as done: after a crash
the former champion still serves, and the next `paleo register` or `paleo promote` finishes what was begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.io.tracking.mlflow_registry import CHALLENGER, CHAMPION, ModelVersion, versions, with_alias

if TYPE_CHECKING:
    from mlflow import MlflowClient

SHARES = ("species_accuracy", "memorised")
STARTED, DONE, OVERTAKEN = "started", "done", "overtaken"


@dataclass(frozen=True)
class Verdict:
    """Does it beat the champion; the sentence has the numbers."""

    beats: bool
    sentence: str


def judge(new: ModelVersion, champion: ModelVersion | None, min_gain: float) -> Verdict:
    """Compare by the primary metric, and only what was measured in the same way."""
    if champion is None:
        return Verdict(True, "there was no champion")
    if champion.number == new.number:
        return Verdict(False, f"version {new.number} is the champion already")
    difference = _measured_differently(new, champion)
    if difference:
        who = f"version {new.number} and the champion (version {champion.number})"
        return Verdict(False, f"{who} {difference}, so their numbers cannot be compared: look at both galleries")
    metric = new.tags["primary"]
    ours, theirs = (float(version.tags[f"metric.{metric}"]) for version in (new, champion))
    beats = ours > theirs + min_gain
    margin = f" by more than {shown(metric, min_gain, 1)}" if min_gain else ""
    verb = "beats" if beats else "does not beat"
    theirs_shown = f"{shown(metric, theirs, 1)} of version {champion.number}"
    sentence = f"{words(metric)} {shown(metric, ours, 1)} {verb} {theirs_shown}{margin}{_other_data(new, champion)}"
    return Verdict(beats, sentence)


def promote(
    client: MlflowClient, version: ModelVersion, *, champion: ModelVersion | None, by: str, at: str, report: str
) -> None:
    """Make a version the champion and keep who, when, from what and why."""
    former = str(champion.number) if champion else ""
    record = {"promoted_by": by, "promoted_at": at, "promoted_from": former, "gate_report": report}
    for key, value in {**record, "promotion": STARTED}.items():
        client.set_model_version_tag(version.species, str(version.number), key, value)
    line = f"version {version.number} instead of {former or 'none'}, by {by}: {report}"
    client.set_registered_model_tag(version.species, f"promotion.{at}", line[:5000])
    _move(client, version)


def settle(client: MlflowClient, species: str) -> list[ModelVersion]:
    """Finish a promotion that a crash has interrupted; returns the versions as they are then."""
    known = versions(client, species)
    begun = [version for version in known if version.tags.get("promotion") == STARTED]
    present = with_alias(known, CHAMPION)
    for version in begun:
        if version.tags["promoted_from"] == (str(present.number) if present else "") or version == present:
            _move(client, version)
        else:
            client.set_model_version_tag(species, str(version.number), "promotion", OVERTAKEN)
    return versions(client, species) if begun else known


def challenge(client: MlflowClient, known: list[ModelVersion]) -> list[ModelVersion]:
    """Let `challenger` name the newest version."""
    if CHALLENGER not in known[-1].aliases:
        client.set_registered_model_alias(known[-1].species, CHALLENGER, str(known[-1].number))
        return versions(client, known[-1].species)
    return known


def shown(metric: str, value: float, digits: int = 0) -> str:
    """A share in percent, anything else as a number."""
    return f"{100 * value:.{digits}f} %" if metric in SHARES else f"{value:.3f}"


def words(metric: str) -> str:
    return {"clip_i": "CLIP-I", "clip_t": "CLIP-T"}.get(metric, metric.replace("_", " "))


def _move(client: MlflowClient, version: ModelVersion) -> None:
    client.set_registered_model_alias(version.species, CHAMPION, str(version.number))
    client.set_model_version_tag(version.species, str(version.number), "promotion", DONE)


def _measured_differently(new: ModelVersion, champion: ModelVersion) -> str:
    ways = {
        "primary": "were chosen by different metrics",
        "suite_digest": "were sampled with different prompts, seeds or sampler settings",
        "clip_digest": "were measured with different CLIP models",
        "compared_with": "were told apart from different other species",
    }
    return next((way for tag, way in ways.items() if new.tags.get(tag) != champion.tags.get(tag)), "")


def _other_data(new: ModelVersion, champion: ModelVersion) -> str:
    same = new.tags.get("dataset_digest") == champion.tags.get("dataset_digest")
    return "" if same else " (the data set is another one, and so are its held-out pictures)"
