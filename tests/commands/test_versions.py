"""`paleo versions` with real MLflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.commands.versions import versions
from pipeline.core import params as params_module
from pipeline.core.errors import InputError
from pipeline.core.paths import Paths
from pipeline.io.tracking import mlflow_store
from tests.project import ROOT
from tests.registry.test_promotion_gate import measured

PARAMS = params_module.load(ROOT / "params.yaml")
KEY = "sinomacrops"


@pytest.fixture
def registered(project) -> Paths:
    """Two versions of a species, the first of them champion, and one of a species that params.yaml lacks."""
    client = mlflow_store.connect(project)
    for name, accuracies in ((KEY, (0.8, 0.7)), ("dodo", (0.5,))):
        client.create_registered_model(name)
        for step, accuracy in enumerate(accuracies, start=1):
            tags = {**measured(accuracy), "lineage_id": "abc", "step": str(step), "base.species_accuracy": "0.25"}
            client.create_model_version(name, str(project), tags=tags)
    client.set_registered_model_alias(KEY, "champion", "1")
    client.set_model_version_tag(KEY, "2", "gate_report", "it does not beat version 1")
    return Paths(Path(project), "")


def test_every_version_is_listed_with_its_alias_and_what_the_gate_said(registered):
    listing = versions(PARAMS, registered)
    assert [(row["species"], row["version"], row["alias"]) for row in listing.data] == [
        (KEY, 1, "champion"),
        (KEY, 2, ""),
    ]
    text = "\n".join(listing.lines)
    assert "25 % → 80 %" in text and "it does not beat version 1" in text
    assert "dimorphodontidae: no registered version; `paleo run dimorphodontidae` makes one" in listing.lines


def test_a_species_that_was_removed_is_listed_by_its_name(registered):
    assert [row["version"] for row in versions(PARAMS, registered, ["dodo"]).data] == [1]


def test_an_unknown_name_is_one_sentence(registered):
    with pytest.raises(InputError, match="no species 'sinomacrop' in params.yaml or the registry; did you mean 'sino"):
        versions(PARAMS, registered, ["sinomacrop"])
