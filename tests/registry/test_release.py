"""Release content: the identity of a prompt suite, and what belongs to one training."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipeline.core.errors import InputError
from pipeline.core.paths import Paths
from pipeline.core.releases import ModelVersion, version_identity, with_identity
from pipeline.registry import release
from pipeline.registry.model_config import current_names

PATHS = Paths(Path("project"), "dodo")
CARD = {
    "lineage_id": "a" * 16,
    "snapshots": [{"step": 50, "path": "step-000050"}, {"step": 250, "path": "step-000250"}],
}
DIGEST_BY_0_1 = "bdefe84ab7ddcc00"  # of `suite`, computed by paleoforge 0.1.0


def suite(**names: str) -> pd.DataFrame:
    """Two prompts with two seeds, by the base and by a snapshot."""
    rows = [
        {
            "step": step,
            "prompt_index": index,
            "prompt": prompt,
            "seed": seed,
            "sampler": "DDIM",
            "steps": 20,
            "guidance_scale": 3.0,
            "negative_prompt": "",
            "width_px": 64,
            "height_px": 64,
        }
        for step in (0, 50)
        for index, prompt in enumerate(["a dodo", "a dodo at sea"])
        for seed in (1, 2)
    ]
    return pd.DataFrame(rows).rename(columns=names)


def test_the_digest_of_a_suite_is_that_of_0_1_0():
    assert release.suite_digest(suite()) == DIGEST_BY_0_1
    assert release.suite_digest(suite(guidance_scale="guidance", negative_prompt="negative")) == DIGEST_BY_0_1
    assert release.suite_digest(suite().replace({"seed": {2: 3}})) != DIGEST_BY_0_1


def test_sampler_settings_of_0_1_0_get_the_names_of_today():
    assert current_names({"guidance": 3.0, "negative": "text", "steps": 20}) == {
        "guidance_scale": 3.0,
        "negative_prompt": "text",
        "steps": 20,
    }
    assert current_names({"guidance_scale": 3.0}) == {"guidance_scale": 3.0}


def candidate(step: int, lineage_id: str = "a" * 16) -> release.ReleaseCandidate:
    return release.candidate(
        PATHS,
        card=CARD,
        samples_card={"lineage_id": "a" * 16},
        evaluation_card={"lineage_id": lineage_id, "chosen_step": step},
        metrics={"chosen_step": step},
    )


def test_a_version_is_one_step_of_one_lineage():
    chosen = candidate(250)
    assert chosen.checkpoint == PATHS.model / "step-000250"
    versions = [ModelVersion("dodo", n, version_identity("a" * 16, step), "") for n, step in ((1, 50), (2, 250))]
    assert with_identity(versions, chosen.identity) == versions[1]
    assert with_identity(versions, candidate(50).identity) == versions[0]
    assert with_identity(versions, version_identity("b" * 16, 50)) is None


def test_an_evaluation_of_another_training_is_no_candidate():
    with pytest.raises(
        InputError, match="the evaluation of dodo is not of its present model; run `paleo run dodo` first"
    ):
        candidate(250, lineage_id="b" * 16)
