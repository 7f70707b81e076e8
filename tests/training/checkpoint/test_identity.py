"""What keeps an unfinished training from being continued is named."""

import json
import os
from dataclasses import replace

import pytest

from pipeline.core.errors import InputError
from pipeline.training.checkpoint import identity as module
from pipeline.training.checkpoint.identity import Identity, check_resumable, differences, record_start
from pipeline.training.checkpoint.state import CheckpointStore
from tests.training.checkpoint.test_state import _trained

PARAMS = {
    "seed": 1,
    "species": {"name": "Raphus cucullatus", "class_noun": "bird"},
    "family": "sd",
    "train": {"method": "lora", "steps": 500, "learning_rate": 3e-4, "lora": {"rank": 4, "targets": ["to_q"]}},
}
FIRST = Identity("dodo", "d1", "b1", PARAMS, "c1")
ENVIRONMENT = {"torch": "2.13.0", "device": "cpu"}


def _changed(**train) -> Identity:
    return replace(FIRST, params={**PARAMS, "train": {**PARAMS["train"], **train}})


@pytest.fixture
def started(tmp_path):
    """An unfinished training at step 2."""
    store = CheckpointStore(tmp_path / FIRST.lineage_id, FIRST.lineage_id)
    assert record_start(store, FIRST, ENVIRONMENT) == []
    store.save(2, _trained(2), keep=1)
    return store


def _store(folder, identity):
    return CheckpointStore(folder / identity.lineage_id, identity.lineage_id)


def test_differences_are_named_as_params_yaml_names_them():
    other = _changed(learning_rate=1e-4, lora={"rank": 8, "targets": ["to_q", "to_k"]})
    other = replace(other, params={**other.params, "species": {"name": "Dodo", "class_noun": "bird"}, "family": "sdxl"})
    assert differences(FIRST, FIRST) == []
    assert differences(FIRST, other) == [
        "species.dodo.name was 'Raphus cucullatus' and is 'Dodo'",
        "base.family was 'sd' and is 'sdxl'",
        "train.learning_rate was 0.0003 and is 0.0001",
        "train.lora.rank was 4 and is 8",
        "train.lora.targets was ['to_q'] and is ['to_q', 'to_k']",
    ]
    masked = {**PARAMS, "masks": {"train/1.png": "m"}}
    assert differences(FIRST, Identity("dodo", "d2", "b2", masked, "c2")) == [
        "the pictures changed",
        "the masks changed",
        "the weights of the base model changed",
        "the code of training changed",
    ]
    method = _changed(method="dreambooth")
    method.params["train"].pop("lora")
    assert differences(FIRST, method) == ["train.method was 'lora' and is 'dreambooth'"]


def test_a_training_that_is_not_continued_is_reported_with_its_reason_and_its_size(started, tmp_path):
    other = _changed(learning_rate=1e-4)
    (line,) = record_start(_store(tmp_path, other), other, ENVIRONMENT)
    assert line == (
        "the unfinished training of dodo (step 2 of 500) is not continued: train.learning_rate was 0.0003 and is "
        f"0.0001; change it back to continue it, or remove {started.folder} (0.0 MB)"
    )
    assert started.newest_intact_step(()) == 2
    elsewhere = replace(other, species="auk", dataset="d7")
    assert record_start(_store(tmp_path, elsewhere), elsewhere, ENVIRONMENT) == [], "another species is another matter"


def test_several_are_counted_and_the_newest_is_named(started, tmp_path):
    newer = _changed(steps=400)
    record_start(_store(tmp_path, newer), newer, ENVIRONMENT)
    _store(tmp_path, newer).save(3, _trained(3), keep=1)
    os.utime(started.states[0].path, (1, 1))
    now = replace(_changed(steps=1, learning_rate=1.0, lora={"rank": 1}), dataset="d2", base="b2", code="c2")
    lines = record_start(_store(tmp_path, now), now, ENVIRONMENT)
    assert "(step 3 of 400) is not continued: train.steps was 400 and is 1" in lines[0]
    assert "the pictures changed, and 2 more things changed; change them back" in lines[0]
    assert lines[1] == "1 older unfinished training of dodo beside it take 0.0 MB"


def test_a_resumed_training_reports_how_its_environment_changed(started):
    assert record_start(started, FIRST, ENVIRONMENT) == []
    assert record_start(started, FIRST, {**ENVIRONMENT, "torch": "2.14.0", "new": "1"}) == [
        "this training was started with torch 2.13.0, now 2.14.0: it continues, but its result will not be the "
        "same bytes as that of an uninterrupted one"
    ]


def test_resume_does_not_start_a_new_training(started, tmp_path):
    check_resumable(started, FIRST, ())
    other = replace(FIRST, dataset="d2")
    with pytest.raises(InputError, match="not continued: the pictures changed; change it back .*; nothing was started"):
        check_resumable(_store(tmp_path, other), other, ())
    assert not _store(tmp_path, other).folder.exists()
    none = replace(FIRST, species="auk", dataset="d2")
    with pytest.raises(InputError, match="there is no unfinished training of auk; run it without --resume to start"):
        check_resumable(_store(tmp_path, none), none, ())
    started.states[0].path.write_bytes(b"")
    with pytest.raises(InputError, match="none of its states is intact; run it without --resume to start again"):
        check_resumable(started, FIRST, ())


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"species": "dodo"})])
def test_an_identity_file_of_another_form_is_ignored(started, tmp_path, content):
    (started.folder / module.FILE).write_text(content)
    other = _changed(steps=7)
    assert record_start(_store(tmp_path, other), other, ENVIRONMENT) == []
