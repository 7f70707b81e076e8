"""Tags in groups: few on MLflow's pages, flat for those who read them, whoever wrote them."""

from __future__ import annotations

from pipeline.io.tracking import mlflow_tags

TAGS = {
    "lineage_id": "a" * 16,
    "step": "500",
    "method": "lora",
    "base": "pipeline/assets/tiny",
    "base.clip_i": "0.5",
    "metric.clip_i": "0.8",
    "primary": "clip_i",
    "git_commit": "f" * 40,
    "n_pictures": "47",
}


def test_what_belongs_together_is_one_tag_and_what_is_searched_for_stays_alone():
    stored = mlflow_tags.grouped(TAGS)
    assert set(stored) == {"lineage_id", "step", "method", "model", "evaluation", "code", "data"}
    assert stored["evaluation"] == '{"base.clip_i": "0.5", "metric.clip_i": "0.8", "primary": "clip_i"}'
    assert mlflow_tags.flat(stored) == TAGS


def test_tags_of_0_1_0_are_read_as_they_are():
    """It had a tag for each; two of them have the names of groups now or hold text in braces."""
    old = {**TAGS, "promotion": "done", "promoted_from": "1", "gate_report": "{not JSON"}
    assert mlflow_tags.flat(old) == old


def test_a_group_overrules_what_was_stored_beside_it():
    stored = {"promoted_from": "1", "promotion": '{"promotion": "done", "promoted_from": "2"}'}
    assert mlflow_tags.flat(stored) == {"promotion": "done", "promoted_from": "2"}
