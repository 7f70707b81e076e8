"""`params:` in dvc.yaml against what the stages really read: every stage runs once, on a small project.

A key that a stage reads and its stanza does not name would leave an old result cached after an edit of that key.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline.core import params as params_module
from pipeline.core.paths import Paths
from pipeline.core.stages import OVER_ALL_SPECIES, STAGES
from tests import tiny_models
from tests.conftest import copy_store
from tests.project import QUICK, ROOT, clone, edit_params
from tests.recorded_params import covers, recorded

SPECIES = "sinomacrops"
FAST = {
    "base": {"path": "base"},
    "train": {"resolution_px": 16, "monitor": {"timesteps": 1, "pictures": 2, "seeds": [1], "steps": 1}},
    "sample": {"width_px": 16, "height_px": 16},
}
# What a stage may read without naming it, and why that cannot change its result.
NO_INFLUENCE = {
    "collect": {
        "collect.contact": "sent to the servers",
        "collect.download": "limits of one download: another limit is no reason to crawl again before that is due",
        "collect.hosts": "rate limits",
        "collect.openverse": "credentials",
        "collect.replay": "the address of recorded answers, in tests",
    }
}


@pytest.fixture(scope="module")
def project(tmp_path_factory, empty_store) -> Path:
    folder = clone(tmp_path_factory.mktemp("params") / "project")
    good = {"sources": [{"kind": "synthetic", "taxon": SPECIES, "good": 10, "clutter": 8}]}
    edit_params(folder, {**QUICK, "species": {SPECIES: good}}, ("dimorphodontidae", "ornithocheiromorpha"))
    edit_params(folder, FAST)
    tiny_models.write_sd(folder / "base")
    copy_store(empty_store, folder)
    return folder


@pytest.fixture(scope="module")
def read_keys(project) -> dict[str, set[str]]:
    """The keys that each stage reads, run one after the other in this process."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.chdir(project)
        for stage in STAGES:
            params = params_module.load(project / "params.yaml")
            paths = Paths(project, "" if stage in OVER_ALL_SPECIES else SPECIES)
            with recorded(params) as found[stage]:
                getattr(import_module(f"pipeline.{stage}"), stage)(params, paths)
    return found


@pytest.fixture(scope="module")
def named_keys(project) -> dict[str, set[str]]:
    """The keys that dvc.yaml names for each stage, as DVC resolves them."""
    with Repo(project) as repo:
        return {
            stage.name.partition("@")[0]: {key for dep in stage.deps for key in getattr(dep, "params", ())}
            for stage in repo.index.stages
        }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_no_key_that_its_stanza_does_not_name(read_keys, named_keys, stage):
    named = {*named_keys[stage], *NO_INFLUENCE.get(stage, ())}
    unnamed = sorted(key for key in read_keys[stage] if not any(covers(name, key) for name in named))
    assert not unnamed, f"add to `params:` of {stage} in dvc.yaml"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stanza_names_no_key_that_params_do_not_have(named_keys, project, stage):
    known = params_module.load(project / "params.yaml").model_dump(by_alias=True)
    for key in named_keys[stage]:
        value = known
        for part in key.split("."):
            assert part in value, key
            value = value[part]


def test_the_recording_sees_what_is_read_and_nothing_else(project):
    params = params_module.load(project / "params.yaml")
    with recorded(params) as keys:
        assert not keys and params.curate.decode and params.species[SPECIES] and not keys
        _ = params.curate.decode.max_pixels, params.species[SPECIES].name, params.validate_.min_train
        assert keys == {"curate.decode.max_pixels", f"species.{SPECIES}.name", "validate.min_train"}
        keys.clear()
        list(params.species)
        params.train.model_dump()
        hash(params.sample)
        assert {"species", "train", "sample"} <= keys
        assert all(any(covers(section, key) for section in ("species", "train", "sample")) for key in keys)
        keys.clear()
    _ = params.seed
    assert not keys


def test_every_key_that_dvc_yaml_names_is_written_in_params_yaml():
    """DVC refuses a stage that names a key which is not written, even where it has a default."""
    written = YAML(typ="safe").load(ROOT / "params.yaml")
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    for species in written["species"]:
        for name, stanza in stages.items():
            for key in stanza.get("do", stanza).get("params", []):
                value = written
                for part in key.replace("${key}", species).split("."):
                    assert isinstance(value, dict) and part in value, f"{name} names {key}; write it in params.yaml"
                    value = value[part]
