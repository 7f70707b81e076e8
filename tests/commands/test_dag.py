"""`make dag`: what it writes, and what an edit then makes stale, with real DVC on a small project."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows import graph
from pipeline.commands import dag
from pipeline.core.errors import InputError
from tests.flows import mini_project as mini
from tests.project import ROOT, clone

DVC_YAML = """# written by hand
stages:
  curate:
    cmd: echo curated > curated.txt
    deps:
      - raw.txt
      # code of this stage, by `make dag`
      # end of the code
    outs: [curated.txt]
  train:
    cmd: echo trained > trained.txt
    deps:
      # code of this stage, by `make dag`
      - pipeline/gone.py
      # end of the code
      - curated.txt
    params: [train]
    outs: [trained.txt]
"""
FILES = {
    "dvc.yaml": DVC_YAML,
    "params.yaml": "train: {method: lora}\n",
    "raw.txt": "",
    ".dvcignore": "__pycache__\n",
    "pipeline/__init__.py": "",
    "pipeline/curate.py": "from pipeline.curation import CHECKS\n",
    "pipeline/train.py": (
        "from pipeline.methods import METHODS\nfrom pipeline.io.tracking import mlflow\n"
        "from pipeline.io.terminal import bars\nfrom pipeline.training import loop\n"
    ),
    "pipeline/curation/__init__.py": 'CHECKS = {"size": "pipeline.curation.size:Size"}\n',
    "pipeline/curation/size.py": "",
    "pipeline/methods/__init__.py": (
        'METHODS = {"lora": "pipeline.methods.lora:Lora", "dora": "pipeline.methods.dora:Dora"}\n'
    ),
    "pipeline/methods/lora.py": "",
    "pipeline/methods/dora.py": "from pipeline.methods import adapters\n",
    "pipeline/methods/adapters.py": "",
    "pipeline/training/__init__.py": "",
    "pipeline/training/loop.py": "",
    "pipeline/io/__init__.py": "",
    "pipeline/io/unused.py": "",
    "pipeline/io/terminal/__init__.py": "",
    "pipeline/io/terminal/bars.py": "",
    "pipeline/io/tracking/__init__.py": "",
    "pipeline/io/tracking/mlflow.py": "",
}


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """The project after `make dag` and `dvc repro`."""
    folder = tmp_path_factory.mktemp("dag") / "template"
    write(folder, FILES)
    mini.git(folder.parent, "init", "-q", str(folder))
    mini.dvc(folder, "init", "-q", "--force")
    write(folder, {".dvcignore": FILES[".dvcignore"], "dvc.yaml": dag.generated(folder, DVC_YAML)})
    mini.dvc(folder, "repro", "-q")
    return folder


@pytest.fixture
def here(template, tmp_path, monkeypatch) -> Path:
    folder = Path(shutil.copytree(template, tmp_path / "project"))
    monkeypatch.chdir(folder)
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def make_dag(folder: Path) -> None:
    write(folder, {"dvc.yaml": dag.generated(folder, (folder / "dvc.yaml").read_text())})


def stale() -> set[str]:
    """The stages that run again by themselves; those that only may, after another one, are not among them."""
    return {stage.name for stage in graph.read().stages if stage.action not in ("cached", "after")}


def deps(folder: Path, stage: str) -> list[str]:
    return YAML(typ="safe").load(folder / "dvc.yaml")["stages"][stage]["deps"]


def test_the_lines_between_the_markers_are_made_anew_and_all_else_stays(template):
    text = (template / "dvc.yaml").read_text()
    assert deps(template, "curate") == ["raw.txt", "pipeline/__init__.py", "pipeline/curate.py", "pipeline/curation"]
    assert deps(template, "train") == [
        "pipeline/__init__.py",
        "pipeline/io/__init__.py",
        "pipeline/methods/${train.method}.py",
        "pipeline/methods/adapters.py",
        "pipeline/train.py",
        "pipeline/training",
        "curated.txt",
    ]
    assert dag.generated(template, text) == text
    assert dag.BLOCK.sub("", text) == dag.BLOCK.sub("", DVC_YAML)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("pipeline/train.py", {"train"}),
        ("pipeline/training/loop.py", {"train"}),
        ("pipeline/methods/lora.py", {"train"}),
        ("pipeline/methods/adapters.py", {"train"}),
        ("pipeline/curation/size.py", {"curate"}),
        ("pipeline/curation/__init__.py", {"curate"}),
        ("pipeline/__init__.py", {"curate", "train"}),
        ("pipeline/io/unused.py", set()),
        ("pipeline/io/terminal/bars.py", set()),
        ("pipeline/io/tracking/mlflow.py", set()),
        ("pipeline/methods/dora.py", set()),
        ("pipeline/methods/__init__.py", set()),
    ],
)
def test_an_edit_makes_those_stages_stale_that_run_the_file(here, file, expected):
    assert stale() == set()
    (here / file).write_text((here / file).read_text() + "x = 1\n")
    assert stale() == expected
    make_dag(here)
    assert stale() == expected


def test_a_new_method_leaves_models_of_other_methods_cached_and_is_a_dependency_when_it_is_chosen(here):
    table = (here / "pipeline/methods/__init__.py").read_text()
    added = table.replace("{", '{"full": "pipeline.methods.full:Full", ')
    write(here, {"pipeline/methods/full.py": "import pipeline.training.loop", "pipeline/methods/__init__.py": added})
    make_dag(here)
    assert stale() == set()
    write(here, {"params.yaml": "train: {method: full}\n"})
    assert stale() == {"train"}
    mini.dvc(here, "repro", "-q")
    write(here, {"pipeline/methods/full.py": ""})
    assert graph.read()["train"].why == ("pipeline/methods/full.py changed",)


def test_a_new_check_is_used_by_the_stage_of_its_table_and_by_no_other(here):
    table = (here / "pipeline/curation/__init__.py").read_text()
    added = table.replace("{", '{"blur": "pipeline.curation.blur:Blur", ')
    write(here, {"pipeline/curation/blur.py": "", "pipeline/curation/__init__.py": added})
    make_dag(here)
    assert stale() == {"curate"}


def test_a_plugin_under_another_name_than_that_of_its_file_is_refused(here):
    table = (here / "pipeline/methods/__init__.py").read_text()
    write(here, {"pipeline/methods/__init__.py": table.replace('"lora":', '"rslora":')})
    with pytest.raises(InputError, match="under 'rslora'; .* so it must be in pipeline/methods/rslora.py"):
        make_dag(here)


def test_a_stage_without_its_file_is_one_sentence(here, capsys):
    (here / "pipeline/train.py").unlink()
    before = (here / "dvc.yaml").read_text()
    assert dag.main() == 1
    error = capsys.readouterr().err
    assert error == "make dag: dvc.yaml has a stage 'train', but there is no pipeline/train.py; write it\n"
    assert (here / "dvc.yaml").read_text() == before


# --- the project's own dvc.yaml ---


def test_dvc_yaml_is_what_make_dag_writes(tmp_path):
    folder = clone(tmp_path / "project")
    text = (folder / "dvc.yaml").read_text(encoding="utf-8")
    assert dag.generated(folder, text) == text, "run `make dag`"


def test_every_stage_but_collect_has_its_code_among_its_deps():
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    with_code = [dag.STANZA.findall(text[: match.start()])[-1] for match in dag.BLOCK.finditer(text)]
    assert with_code == [stage for stage in YAML(typ="safe").load(text)["stages"] if stage != "collect"]
