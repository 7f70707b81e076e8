"""A metric is one file and one line: evaluation, pages and registry show one that nobody knows by name."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest

from pipeline import metrics
from pipeline.core.import_closure import ROOT, import_closure
from pipeline.core.metric_spec import metric_spec
from pipeline.core.paths import Paths
from pipeline.evaluate import evaluate
from pipeline.gallery import gallery
from pipeline.io.files import atomic_write, parquet
from tests import site_fixture
from tests import test_evaluate as world
from tests.released_project import changed
from tests.tiny_clip import write_clip

PLUGIN = '''
"""Spread: how far is each picture from the mean of all pictures?"""

import numpy as np

from pipeline.core.metric_spec import ImageColumn, MetricSpec
from pipeline.metrics.metric import FunctionMetric, Measurement, Metric

SPEC = MetricSpec(
    "spread", title="spread", heading="Spread of pictures", label="spread", description="distance to the mean picture",
    direction="lower", unit="mm", columns=(ImageColumn("spread", in_table=True),),
)


def spread(samples, reference):
    gaps = samples.pictures - samples.pictures.mean(axis=0)
    return Measurement(np.linalg.norm(gaps, axis=1), samples.prompt_index)


def columns(samples, reference):
    return {"spread": spread(samples, reference).values}


def details(images, reference):
    return {"spread_of_chosen": float(images["spread"].max())}


METRIC: Metric = FunctionMetric(SPEC, spread, columns=columns, details=details)
'''


@pytest.fixture
def new_metric(tmp_path, monkeypatch):
    """The new file, and the new line in the registry."""
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin/metric_of_a_test.py").write_text(textwrap.dedent(PLUGIN))
    monkeypatch.syspath_prepend(tmp_path / "plugin")
    monkeypatch.setitem(metrics.METRICS, "spread", "metric_of_a_test:METRIC")
    yield
    sys.modules.pop("metric_of_a_test", None)


def _sampled_project(root):
    params = changed(world._params(), evaluate={"primary": "spread"})
    write_clip(root / "clip")
    for name, colour in world.COLOURS.items():
        world._curate(Paths(root, name), colour, params.species[name].name)
    world._sample(Paths(root, world.SPECIES), params.species[world.SPECIES].name)
    return params, Paths(root, world.SPECIES)


def test_evaluation_measures_and_reports_it_and_it_may_choose_the_step(tmp_path, new_metric):
    params, paths = _sampled_project(tmp_path / "project")
    report = evaluate(params, paths)
    verdict = atomic_write.read_json(paths.evaluation / "details/verdict.json")
    values = {int(step): by_metric["spread"]["value"] for step, by_metric in verdict["steps"].items()}
    assert verdict["primary"] == "spread"
    assert verdict["step"] == min((value, step) for step, value in values.items() if step)[1], "lower is better"
    assert verdict["spread_of_chosen"] > 0
    assert atomic_write.read_json(paths.evaluation / "metrics.json")["chosen"]["spread"] == values[verdict["step"]]
    assert "spread" in parquet.read(paths.evaluation / "details/per_image.parquet")
    assert any(line.lstrip().startswith("spread ") and " mm -> " in line for line in report.lines)


def test_the_gallery_shows_it(tmp_path, new_metric):
    params = site_fixture.params()
    paths = site_fixture.complete(params, tmp_path, "sinomacrops")
    rows = parquet.read(paths.evaluation / "details/per_image.parquet")
    parquet.write(paths.evaluation / "details/per_image.parquet", rows.assign(spread=0.25))
    file = paths.evaluation / "details/verdict.json"
    verdict = atomic_write.read_json(file)
    for by_metric in verdict["steps"].values():
        by_metric["spread"] = {"value": 0.25, "low": 0.2, "high": 0.3, "n": 24}
    atomic_write.write_json(file, verdict)
    gallery(params, Paths(tmp_path, ""))
    page = (tmp_path / "site/sinomacrops/index.html").read_text()
    assert "<h3>Spread of pictures</h3><p>distance to the mean picture</p>" in page
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert data["cells"][0][1][0]["score"].endswith("spread 0.250\u00a0mm")


def test_registry_and_flows_find_its_words_and_format(new_metric):
    assert metric_spec("spread").text(0.5) == "0.500 mm"
    assert metric_spec("spread").oriented(0.2) > metric_spec("spread").oriented(0.3)
    assert metric_spec("a_metric_that_is_gone").title == "a metric that is gone"


def test_every_registered_metric_is_code_of_evaluate_and_not_of_curate():
    def closure(stage: str) -> set[str]:
        return set(import_closure(ROOT, [f"pipeline.{stage}"]))

    files = {f"{entry.partition(':')[0].replace('.', '/')}.py" for entry in metrics.METRICS.values()}
    assert files <= closure("evaluate")
    assert not files & closure("curate")
