"""A stage of the DAG is one file, its stanza in dvc.yaml and one line in the table of stages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.project import clone, edit_params, git, paleo

STAGE = '''
"""Stage `census`: how many pictures of a species were kept."""

from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.records import Report
from pipeline.io.files import atomic_write, parquet


def census(params: Params, paths: Paths) -> Report:
    kept = parquet.read(paths.raw / "manifest.parquet")["kept"].sum()
    name = params.species[paths.species].name
    atomic_write.write_json(paths.root / "census" / f"{paths.species}.json", {"name": name, "kept": int(kept)})
    return Report("census", (f"{name}: {kept} pictures",), {})
'''
STANZA = """
  census:
    foreach: ${species}
    do:
      cmd: python -m pipeline census
      deps:
        - data/raw/${key}
        # code of this stage, by `make dag`
        # end of the code
      params: ["species.${key}.name"]
      outs: ["census/${key}.json"]
"""
LINE = '    "census": "count the pictures of a species",\n'


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project of one species, with the new stage behind `collect`; the other stages are left out for time."""
    folder = clone(tmp_path_factory.mktemp("stage") / "project")
    source = {"kind": "synthetic", "taxon": "sinomacrops", "good": 3, "clutter": 1}
    edit_params(
        folder, {"species": {"sinomacrops": {"sources": [source]}}}, ("dimorphodontidae", "ornithocheiromorpha")
    )
    (folder / "pipeline/census.py").write_text(STAGE.lstrip())
    dag = (folder / "dvc.yaml").read_text()
    (folder / "dvc.yaml").write_text(dag[: dag.index("\n  curate:")] + STANZA)
    table = folder / "pipeline/core/stages.py"
    table.write_text(table.read_text().replace("}\n", f"{LINE}}}\n", 1))
    return folder


def test_it_is_in_the_help_runs_in_the_flow_and_is_cached_when_nothing_has_changed(project):
    help_text = paleo(project, "--help").stdout
    assert re.search(r"census +count the pictures of a species", help_text, re.IGNORECASE), help_text
    assert paleo(project, "census", "sinomacrops", "--dry-run").stdout.endswith("dry run: census did nothing\n")
    deps = paleo_dag(project)
    assert "pipeline/census.py" in deps and "pipeline/train.py" not in deps

    done = paleo(project, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    counted = json.loads((project / "census/sinomacrops.json").read_text())
    assert counted["name"] == "Sinomacrops bondei" and counted["kept"] >= 3
    assert "nothing to do" in paleo(project, "plan").stdout

    (project / "pipeline/census.py").write_text(STAGE.lstrip() + "\n# better\n")
    assert re.search(r"census@sinomacrops +run +pipeline/census.py changed", paleo(project, "plan").stdout)


def paleo_dag(project: Path) -> str:
    """Run `make dag`; dvc.yaml as it then is."""
    from pipeline.commands import dag

    file = project / "dvc.yaml"
    file.write_text(dag.generated(project, file.read_text()))
    return file.read_text()


def test_only_the_file_the_stanza_and_the_line_are_new(project):
    changed = git(project, "status", "--porcelain", "--", "pipeline", "flows", "pyproject.toml").splitlines()
    assert changed == [" M pipeline/core/stages.py", "?? pipeline/census.py"]
    assert git(project, "diff", "--numstat", "--", "pipeline").split()[:2] == ["1", "0"]
