"""A checkpoint that is laid over a base that it does not fit: one sentence, never a list of shapes."""

import pytest
import torch

from pipeline.core.errors import InputError
from pipeline.core.records import Subject
from pipeline.families import family
from pipeline.methods import method
from tests.training.world import train_params

SUBJECT = Subject("dodo", "Raphus cucullatus", "bird")
ADAPTERS = ["lora", "lokr", "loha", "pivotal"]


def _written(base, name, kind, folder, metadata):
    small = {key: {"rank": 2, "alpha": 2} for key in ("lora", "lokr", "loha")}
    trainable = method(kind).attach(
        family(name).load(base), train_params(method=kind, **small), SUBJECT, 1, torch.float32
    )
    folder.mkdir(exist_ok=True)
    method(kind).save(trainable, folder, torch.float32, metadata)


@pytest.fixture
def bases(sd_base, sdxl_base):
    return {"sd": sd_base, "sdxl": sdxl_base}


@pytest.mark.parametrize("kind", ["lora", "lokr", "loha"])
def test_adapters_of_another_width_are_refused_without_a_list_of_shapes(bases, kind, tmp_path, caplog):
    _written(bases["sdxl"], "sdxl", kind, tmp_path, {})
    with pytest.raises(InputError, match="does not fit .*load it with the base that it was trained on") as caught:
        method(kind).restore(family("sd").load(bases["sd"]), tmp_path)
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)
    assert not caplog.records


@pytest.mark.parametrize("kind", ADAPTERS)
def test_missing_and_damaged_files_are_named(bases, kind, tmp_path):
    components = family("sd").load(bases["sd"])
    with pytest.raises(InputError, match="safetensors is missing or damaged .*; train again"):
        method(kind).restore(components, tmp_path)
    _written(bases["sd"], "sd", kind, tmp_path, {})
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="safetensors is missing or damaged .*; train again"):
        method(kind).restore(components, tmp_path)
