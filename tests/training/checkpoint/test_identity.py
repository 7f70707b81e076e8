"""What keeps an unfinished training from being continued is logged by name."""

import json
import os
from dataclasses import replace

import pytest

from pipeline.core.errors import InputError
from pipeline.training.checkpoint import identity as module
from pipeline.training.checkpoint.identity import Identity, begin, differences, refuse_to_start
from pipeline.training.checkpoint.state import CheckpointStore
from tests.training.checkpoint.test_state import _trained

PARAMS = {
    "seed": 1,
    "species": {"name": "Raphus cucullatus", "class_noun": "bird"},
    "family": "sd",
    "train": {"method": "lora", "steps": 500, "learning_rate": 3e-4, "lora": {"rank": 4, "targets": ["to_q"]}},
}
FIRST = Identity("dodo", "d1", "b1", PARAMS, "c1")
MEANS = {"torch": "2.13.0", "device": "cpu"}


def _changed(**train) -> Identity:
    return replace(FIRST, params={**PARAMS, "train": {**PARAMS["train"], **train}})


@pytest.fixture
def begun(tmp_path):
    """An unfinished training at step 2."""
    store = CheckpointStore(tmp_path / FIRST.lineage_id, FIRST.lineage_id)
    assert begin(store, FIRST, MEANS) == []
    store.save(2, _trained(2), keep=1)
    return store


def _saves(folder, identity):
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


def test_one_that_is_left_alone_is_told_with_its_reason_and_its_size(begun, tmp_path):
    other = _changed(learning_rate=1e-4)
    (told,) = begin(_saves(tmp_path, other), other, MEANS)
    assert told == (
        "the unfinished training of dodo (step 2 of 500) is not continued: train.learning_rate was 0.0003 and is "
        f"0.0001; put it back to go on with it, or remove {begun.folder} (0.0 MB)"
    )
    assert begun.whole(()) == 2
    elsewhere = replace(other, species="auk", dataset="d7")
    assert begin(_saves(tmp_path, elsewhere), elsewhere, MEANS) == [], "another species is another matter"


def test_several_are_counted_and_the_newest_is_named(begun, tmp_path):
    newer = _changed(steps=400)
    begin(_saves(tmp_path, newer), newer, MEANS)
    _saves(tmp_path, newer).save(3, _trained(3), keep=1)
    os.utime(begun.states[0].path, (1, 1))
    now = replace(_changed(steps=1, learning_rate=1.0, lora={"rank": 1}), dataset="d2", base="b2", code="c2")
    told = begin(_saves(tmp_path, now), now, MEANS)
    assert "(step 3 of 400) is not continued: train.steps was 400 and is 1" in told[0]
    assert "the pictures changed, and 2 more things changed; put them back" in told[0]
    assert told[1] == "1 older unfinished training of dodo beside it take 0.0 MB"


def test_who_goes_on_by_other_means_is_told(begun):
    assert begin(begun, FIRST, MEANS) == []
    assert begin(begun, FIRST, {**MEANS, "torch": "2.14.0", "new": "1"}) == [
        "this training was begun with torch 2.13.0, now 2.14.0: it goes on, but not to the bytes of an unbroken one"
    ]


def test_resume_or_nothing(begun, tmp_path):
    refuse_to_start(begun, FIRST, ())
    other = replace(FIRST, dataset="d2")
    with pytest.raises(InputError, match="not continued: the pictures changed; put it back .*; nothing was started"):
        refuse_to_start(_saves(tmp_path, other), other, ())
    assert not _saves(tmp_path, other).folder.exists()
    none = replace(FIRST, species="auk", dataset="d2")
    with pytest.raises(InputError, match="there is no unfinished training of auk; run it without --resume to start"):
        refuse_to_start(_saves(tmp_path, none), none, ())
    begun.states[0].path.write_bytes(b"")
    with pytest.raises(InputError, match="none of its states is whole; run it without --resume to start again"):
        refuse_to_start(begun, FIRST, ())


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"species": "dodo"})])
def test_a_file_that_is_not_ours_stops_nobody(begun, tmp_path, content):
    (begun.folder / module.FILE).write_text(content)
    other = _changed(steps=7)
    assert begin(_saves(tmp_path, other), other, MEANS) == []
