"""What the benchmark of training measures with; its numbers come from `python -m benchmarks training`."""

from __future__ import annotations

import sys

import pytest
from accelerate import Accelerator

from benchmarks import diffusers_example, encoding_cache, loop_overhead, model_configs, peak_memory, random_models
from benchmarks.claims import Claim
from benchmarks.interleaved import Rounds, ratio, seconds_per_step
from benchmarks.training_runs import TrainingSetting

TRAINING = """
import time
for step in range(1, 1000):
    time.sleep({seconds})
    print(f"Steps: {{step}}/1000000 [", flush=True)
"""


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    base = random_models.write(model_configs.TINY, tmp_path_factory.mktemp("base"))
    changes = {"method": "lora", "batch_size": 2, "steps": 4, "prior": {"images": 2}}
    return TrainingSetting("sd", base, model_configs.TINY.side_px, changes)


@pytest.mark.parametrize(
    ("config", "millions"),
    [
        (model_configs.SD15, {"unet": 859.5, "vae": 83.7, "text_encoder": 123.1}),
        (model_configs.SDXL, {"unet": 2567.5, "vae": 83.7, "text_encoder": 123.1, "text_encoder_2": 694.7}),
    ],
    ids=["sd15", "sdxl"],
)
def test_the_published_configs_have_the_published_numbers_of_parameters(config, millions):
    assert random_models.parameters(config) == pytest.approx(millions, abs=0.06)


def test_the_vae_of_the_scaled_down_model_costs_the_share_of_stable_diffusions():
    cost = random_models.cost(model_configs.SMALL, rank=16)

    assert cost.vae / cost.unet == pytest.approx(1.117 / 0.803, rel=0.02)
    assert cost.text / cost.unet == pytest.approx(0.013 / 0.803, rel=0.2)
    assert 2 < cost.step / cost.unet < 2.5


def test_trainings_run_alternately_and_start_up_is_not_counted():
    commands = {
        name: [sys.executable, "-c", TRAINING.format(seconds=pause)]
        for name, pause in {"slow": 0.06, "fast": 0.02}.items()
    }

    seconds = seconds_per_step(commands, {}, Rounds(rounds=3, steps=3, warm_up=1))

    assert len(seconds["slow"]) == 3
    assert min(seconds["fast"]) >= 0.01
    assert ratio(seconds["slow"], seconds["fast"]) > 1.2


def test_a_training_that_ends_early_is_an_error_with_its_output():
    broken = [sys.executable, "-c", "raise SystemExit('no such option')"]

    with pytest.raises(RuntimeError, match="no such option"):
        seconds_per_step({"broken": broken}, {}, Rounds(rounds=1, steps=1, warm_up=1))


def test_loop_and_model_alone_are_measured_in_one_run(setting, tmp_path):
    result = loop_overhead.run_in_worker(setting, Accelerator(), tmp_path, rounds=2, steps=1)

    assert result["speed"] > 0 and result["loop_seconds"] > 0 and result["model_seconds"] > 0
    assert result["shares"]["sd.predict"] > 0.1  # of a step
    assert 0.5 < sum(result["shares"].values()) < 1.1


def test_the_second_training_reads_what_the_first_has_encoded(setting, tmp_path):
    first, second = (encoding_cache.run_in_worker(setting, Accelerator(), tmp_path) for _ in range(2))

    assert second["encoding_seconds"] < first["encoding_seconds"]
    assert peak_memory.run_in_worker(setting, Accelerator(), tmp_path, steps=1, loop=1) > 0


def test_without_the_example_its_claim_is_no_failure(monkeypatch):
    monkeypatch.delenv(diffusers_example.EXAMPLE, raising=False)
    claim = Claim("speed", None, "x", at_least=1.4, note="give --diffusers-example")

    assert diffusers_example.script("sd") is None
    assert claim.reached and claim.verdict() == "" and claim.row()["reached"] is None
    assert claim.formatted() == "not measured (give --diffusers-example)"


def test_the_example_for_sdxl_is_found_beside_the_one_that_was_named(monkeypatch, tmp_path):
    for name in diffusers_example.SCRIPTS.values():
        (tmp_path / name).touch()
    monkeypatch.setenv(diffusers_example.EXAMPLE, str(tmp_path / diffusers_example.SCRIPTS["sd"]))

    assert diffusers_example.script("sdxl") == tmp_path / diffusers_example.SCRIPTS["sdxl"]
