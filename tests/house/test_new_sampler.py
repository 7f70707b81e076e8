"""The change test: a new sampler is one row of the sampler table, and nothing else."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from pipeline.commands.generate import generate
from pipeline.core.errors import ParamsError
from pipeline.diffusion import samplers
from pipeline.families import family
from pipeline.sample import sample
from pipeline.sampling.generate import generate_images
from pipeline.sampling.prompt_grid import sample_spec
from tests.released_project import changed, finish, make

TABLE = "ROWS = (\n"
ROW = '    SamplerRow("DEIS", "DEISMultistepScheduler", schedules=("", "Karras")),\n'
NEW = ("DEIS", "DEIS Karras")


@pytest.fixture(autouse=True)
def with_new_row(monkeypatch):
    """The table of `samplers.py` with one more row in its source."""
    source = Path(samplers.__file__).read_text(encoding="utf-8")
    assert source.count(TABLE) == 1
    edited = ModuleType("edited_samplers")
    monkeypatch.setitem(sys.modules, edited.__name__, edited)  # dataclasses look their module up
    exec(compile(source.replace(TABLE, TABLE + ROW), samplers.__file__, "exec"), edited.__dict__)
    monkeypatch.setattr(samplers, "SAMPLERS", edited.SAMPLERS)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    params = make(root)
    return params, finish(params, root)


@pytest.mark.parametrize("name", NEW)
def test_it_samples_and_repeats_itself(project, name):
    params, paths = project
    components = family("sd").load(paths.root / "base")
    spec = replace(sample_spec(params.sample, "a bird", 1), sampler=name, steps=6)
    first, again, ddim = (
        np.asarray(generate_images(components, [each])[0]) for each in (spec, spec, replace(spec, sampler="DDIM"))
    )
    assert (first == again).all() and (first != ddim).any()


def test_the_stage_samples_with_it_and_the_metadata_name_it(project):
    params, paths = project
    sample(changed(params, **{"sample.sampler": "DEIS Karras"}), paths)
    texts = Image.open(paths.samples / "step-000004/p00-s00001.png").text
    assert "Sampler: DEIS, Schedule type: Karras," in texts["parameters"]
    scheduler = json.loads(texts["paleoforge"])["scheduler"]
    assert scheduler["class"] == "DEISMultistepScheduler" and scheduler["config"]["use_karras_sigmas"]


def test_generate_accepts_it(project, tmp_path):
    params, paths = project
    settings = params.sample.model_copy(update={"sampler": "DEIS"})
    report = generate(params, paths, "{name}", sample=settings, seed=1, number=1, out=tmp_path, step=4)
    assert "Sampler: DEIS," in Image.open(report.lines[-1]).text["parameters"]


def test_messages_list_it():
    for wrong, sentence in (
        ("DEIZ", "did you mean 'DEIS'"),
        ("Restart", "is refused: .* known are DEIS, DEIS Karras,"),
    ):
        with pytest.raises(ParamsError, match=sentence):
            samplers.find(wrong)
