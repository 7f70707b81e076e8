"""`paleo check`: everything that can be known to be wrong before anything runs, and the commands that run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.commands import check
from pipeline.core import params as params_module
from pipeline.core.errors import ParamsError
from pipeline.core.stages import OVER_ALL_SPECIES, STAGES
from tests.project import ROOT

TEXT = (ROOT / "params.yaml").read_text()
TINY = "pipeline/assets/tiny"
SOURCE = "{kind: synthetic, taxon: sinomacrops, good: 48, clutter: 20}"


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("check") / "project"
    shutil.copytree(ROOT / TINY, folder / TINY)
    (folder / "params.yaml").write_text(TEXT)
    (folder / "dvc.yaml").write_text("stages: {}\n")
    return folder


@pytest.fixture
def project(template, tmp_path, monkeypatch) -> Path:
    copy = Path(shutil.copytree(template, tmp_path / "project"))
    monkeypatch.chdir(copy)
    monkeypatch.delenv("PALEO_ACCELERATE_CONFIG", raising=False)
    return copy


def problems(root: Path, old: str = "", new: str = "") -> list[str]:
    assert old in TEXT
    return check.problems(params_module.parse(TEXT.replace(old, new, 1), "params.yaml"), root)


def test_the_shipped_params_are_in_order(project, capsys):
    assert problems(project) == []
    assert main(["check"]) == 0
    assert "in order: 3 species, dreambooth on pipeline/assets/tiny" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("method: dreambooth", "method: dreamboth", "train.method is 'dreamboth', which is not known; did you mean"),
        ("family: sd ", "family: sdx ", "base.family is 'sdx', which is not known; did you mean 'sdxl'?"),
        ("family: sd ", "family: sdxl ", "set base.family to sd"),
        ("sampler: DDIM", "sampler: LCM", "sample.sampler: the sampler 'LCM' is refused: it needs weights distilled"),
        ("optimiser: adamw ", "optimiser: adam ", "train.optimiser is 'adam', which is not known; did you mean"),
        ("optimiser: adamw ", "optimiser: prodigy ", "train.learning_rate is 0.0003, but prodigy finds the rate"),
        ("lr_schedule: constant", "lr_schedule: cosin", "train.lr_schedule is 'cosin', which is not known"),
        ("primary: species_accuracy", "primary: clip", "evaluate.primary is 'clip', which is not known; did you mean"),
        ("max_drift: 0.25", "severity: {drif: warn}", "validate.severity names 'drif', which is no expectation"),
        ("CC-BY-4.0, CC", "CC BY 4.0, CC", "collect.licences has 'CC BY 4.0', which sources call 'CC-BY-4.0'"),
        ("CC-BY-4.0, CC", "CC-BY-40, CC", "collect.licences has 'CC-BY-40', which is no licence; did you mean"),
        ("resolution_px: 64", "resolution_px: 63", "train.resolution_px is 63, but this base needs a multiple of 4"),
        ("width_px: 64", "width_px: 60", "sample.width_px is 60, which is no multiple of 8; use 64"),
        (f"path: {TINY}", "path: base_models/x", "the base model folder 'base_models/x' is not there"),
        (f"clip: {TINY}", "clip: base_models/x", "'base_models/x' (`base.clip` in params.yaml) is not there"),
        ("external: {}", "external: {x: pictures/x}", "gallery.external has 'x' in 'pictures/x', which is no folder"),
        ('captioner: ""', "captioner: blip", "curate.captioner is 'blip', where there is no captioning model"),
        ("a painting of a {class_noun}", '" "', "train.prior.prompt has the empty prompt"),
        ("taxon: sinomacrops", "taxon: sinomacrop", "has no taxon 'sinomacrop'; did you mean 'sinomacrops'?"),
        (SOURCE, "{kind: folder, path: no, licence: CC-BY-4.0}", "the picture folder 'no' is not there"),
        (SOURCE, "{kind: addresses, path: no.csv}", "the list 'no.csv' is not there"),
        (SOURCE, "{kind: commons}", "a source of kind 'commons' needs `category:` or `search:`"),
        (SOURCE, "{kind: commons, search: dodo}", "collect.contact is empty, but the sources of species 'sinomacrops'"),
        (SOURCE, "{kind: folder, path: no, licence: CC-BY-NC-4.0}", "licence is 'CC-BY-NC-4.0', which collect"),
    ],
)
def test_a_problem_is_named_before_anything_runs(project, old, new, expected):
    assert any(expected in sentence for sentence in problems(project, old, new))


def test_weights_that_are_cut_short_are_found_by_their_headers(project):
    weights = project / TINY / "model.safetensors"  # of CLIP
    os.truncate(weights, weights.stat().st_size - 1)
    unet = project / TINY / "unet/diffusion_pytorch_model.safetensors"
    os.truncate(unet, unet.stat().st_size - 1)
    found = problems(project)
    assert len(found) == 2 and all("download it again" in sentence for sentence in found)


def test_outputs_that_cannot_be_written_and_a_full_disk(project, monkeypatch):
    (project / "models").write_text("")
    assert problems(project) == ["'models' is no folder, but results are written there; move it away"]
    (project / "models").unlink()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**6, 10**6))
    (sentence,) = problems(project)
    assert sentence.startswith("3 species would need about 0.") and "0.0 GiB are free; free some" in sentence


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_to_write(project):
    (project / "models").mkdir(mode=0o555)
    assert problems(project) == [
        "the folder 'models' cannot be written to; change its permissions (`chmod u+w models`)"
    ]


def test_a_batch_that_the_processes_cannot_share(project, monkeypatch):
    (project / "two.yaml").write_text("num_processes: 3\ngpu_ids: '0,1,2'\ndistributed_type: MULTI_GPU\n")
    monkeypatch.setenv("PALEO_ACCELERATE_CONFIG", "two.yaml")
    assert problems(project)[0].startswith(
        "train.batch_size is 8, which the 3 processes of two.yaml cannot share evenly"
    )


def test_sources_of_a_species_that_was_collected_are_not_needed_any_more(project):
    gone = "{kind: folder, path: no, licence: CC-BY-4.0}"
    assert problems(project, SOURCE, gone)
    (project / "data/raw/sinomacrops").mkdir(parents=True)
    (project / "data/raw/sinomacrops/card.json").write_text("{}")
    assert problems(project, SOURCE, gone) == []


def test_all_problems_are_listed_by_the_command_and_counted_elsewhere(project, capsys):
    wrong = TEXT.replace("sampler: DDIM", "sampler: DDIMM").replace("method: dreambooth", "method: dreamboth")
    (project / "params.yaml").write_text(wrong)
    assert main(["check"]) == 1
    printed = capsys.readouterr().err
    assert "'dreamboth'" in printed and "'DDIMM'" in printed and printed.count("paleo check: ") == 1
    with pytest.raises(ParamsError, match="'dreamboth'.* \\(and 1 more: `paleo check` lists them\\)"):
        check.refuse(params_module.parse(wrong, "params.yaml"), project)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("option", [[], ["--dry-run"]], ids=["runs", "dry run"])
def test_every_stage_and_its_dry_run_check_first(project, capsys, stage, option):
    (project / "params.yaml").write_text(TEXT.replace("sampler: DDIM", "sampler: DDIMM"))
    species = [] if stage in OVER_ALL_SPECIES else ["sinomacrops"]
    assert main([stage, *species, *option]) == 1
    assert capsys.readouterr().err == (
        f"paleo {stage}: sample.sampler: the sampler is 'DDIMM', which is not known; did you mean 'DDIM'?\n"
    )
    assert not (project / "data").exists()


@pytest.mark.parametrize(
    "command", ["review sinomacrops", "register", "promote sinomacrops", "export sinomacrops --format diffusers"]
)
def test_a_dry_run_of_another_command_checks_first(project, capsys, command):
    (project / "params.yaml").write_text(TEXT.replace("sampler: DDIM", "sampler: DDIMM"))
    assert main([*command.split(), "--dry-run"]) == 1
    assert "sample.sampler: the sampler is 'DDIMM'" in capsys.readouterr().err


def test_checking_imports_no_torch():
    """`paleo check` is to take less than two seconds, and torch alone takes as long."""

    code = (
        "import sys; from pipeline.__main__ import main; main(['check']); print({'torch', 'pandas'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()", done.stdout + done.stderr
