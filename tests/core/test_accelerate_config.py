"""What an accelerate config requests; its messages are also tested where flows and the launcher show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core import accelerate_config
from pipeline.core.accelerate_config import VARIABLE, AccelerateConfig
from pipeline.core.errors import InputError
from tests.project import ROOT


@pytest.mark.parametrize("file", sorted((ROOT / "infra/accelerate").glob("*.yaml")), ids=lambda file: file.name)
def test_the_project_s_own_configs_are_read(file):
    config = accelerate_config.read(file)
    on_cpu = file.name.startswith("cpu")
    assert config.on_cpu == on_cpu and config.gpus_per_machine == (0 if on_cpu else config.processes_per_machine)
    assert config.processes_per_machine == {"cpu.yaml": 1, "gpu.yaml": 1}.get(file.name, 2)


def test_keys_that_are_not_written_mean_one_process_on_any_gpu(tmp_path):
    (tmp_path / "a.yaml").write_text("mixed_precision: bf16")
    config = accelerate_config.read(tmp_path / "a.yaml")
    assert config == AccelerateConfig(str(tmp_path / "a.yaml"), on_cpu=False, num_processes=1, num_machines=1)
    assert config.gpus_per_machine == 1


def test_a_file_is_named_from_the_current_folder_or_from_the_project(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    (tmp_path / "project/a.yaml").write_text("use_cpu: true")
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "project"
    assert accelerate_config.named_file({VARIABLE: "a.yaml"}, root) == root / "a.yaml"
    assert accelerate_config.named_file({VARIABLE: "project/a.yaml"}, root) == Path("project/a.yaml")
    assert accelerate_config.named_file({}, root) is accelerate_config.named_file({VARIABLE: ""}, root) is None
    with pytest.raises(InputError, match="PALEO_ACCELERATE_CONFIG is 'b.yaml', which is no file; infra/"):
        accelerate_config.named_file({VARIABLE: "b.yaml"}, root)


@pytest.mark.parametrize("value", ["0", "'two'", "true", "1.5"])
def test_a_number_that_is_none_is_refused(tmp_path, value):
    (tmp_path / "a.yaml").write_text(f"num_processes: {value}")
    with pytest.raises(InputError, match=r"a.yaml: num_processes is .*; give a number from 1 on"):
        accelerate_config.read(tmp_path / "a.yaml")
