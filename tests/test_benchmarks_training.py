"""What the benchmark of training measures with; its numbers come from `python -m benchmarks training`."""

from __future__ import annotations

import sys

import pytest
from accelerate import Accelerator

from benchmarks import bare, memory, models, peer, preparing, shapes
from benchmarks.claims import Claim
from benchmarks.jobs import Setting
from benchmarks.turns import Effort, ratio, seconds_per_step

TALKER = """
import time
for step in range(1, 1000):
    time.sleep({seconds})
    print(f"Steps: {{step}}/1000000 [", flush=True)
"""


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    base = models.write(shapes.TINY, tmp_path_factory.mktemp("base"))
    wanted = {"method": "lora", "batch_size": 2, "steps": 4, "prior": {"images": 2}}
    return Setting("sd", base, shapes.TINY.side_px, wanted)


@pytest.mark.parametrize(
    ("shape", "millions"),
    [
        (shapes.SD15, {"unet": 859.5, "vae": 83.7, "text_encoder": 123.1}),
        (shapes.SDXL, {"unet": 2567.5, "vae": 83.7, "text_encoder": 123.1, "text_encoder_2": 694.7}),
    ],
    ids=["sd15", "sdxl"],
)
def test_the_true_shapes_have_the_published_numbers_of_parameters(shape, millions):
    assert models.parameters(shape) == pytest.approx(millions, abs=0.06)


def test_the_scaled_down_model_spends_on_its_vae_what_stable_diffusion_does():
    cost = models.cost(shapes.SMALL, rank=16)

    assert cost.vae / cost.unet == pytest.approx(1.117 / 0.803, rel=0.02)
    assert cost.text / cost.unet == pytest.approx(0.013 / 0.803, rel=0.2)
    assert 2 < cost.step / cost.unet < 2.5


def test_trainings_take_turns_and_start_in_no_ones_time():
    commands = {
        name: [sys.executable, "-c", TALKER.format(seconds=pause)]
        for name, pause in {"slow": 0.06, "fast": 0.02}.items()
    }

    found = seconds_per_step(commands, {}, Effort(rounds=3, size=3, warm_up=1))

    assert len(found["slow"]) == 3
    assert min(found["fast"]) >= 0.01
    assert ratio(found["slow"], found["fast"]) > 1.2


def test_a_training_that_ends_early_says_why():
    broken = [sys.executable, "-c", "raise SystemExit('no such option')"]

    with pytest.raises(RuntimeError, match="no such option"):
        seconds_per_step({"peer": broken}, {}, Effort(rounds=1, size=1, warm_up=1))


def test_loop_and_bare_model_are_measured_in_one_run(setting, tmp_path):
    found = bare.answer(setting, Accelerator(), tmp_path, rounds=2, size=1)

    assert found["speed"] > 0 and found["loop_seconds"] > 0 and found["bare_seconds"] > 0
    assert found["where"]["sd.predict"] > 0.1  # of a step
    assert 0.5 < sum(found["where"].values()) < 1.1


def test_the_second_training_finds_what_the_first_has_encoded(setting, tmp_path):
    first, second = (preparing.answer(setting, Accelerator(), tmp_path) for _ in range(2))

    assert second["looking"] < first["looking"]
    assert memory.answer(setting, Accelerator(), tmp_path, steps=1, loop=1) > 0


def test_without_the_example_its_claim_is_no_failure(monkeypatch):
    monkeypatch.delenv(peer.PEER, raising=False)
    claim = Claim("speed", None, "x", at_least=1.4, note="give --peer")

    assert peer.script("sd") is None
    assert claim.reached and claim.verdict() == "" and claim.row()["reached"] is None
    assert claim.shown() == "not measured (give --peer)"


def test_the_example_for_sdxl_is_found_beside_the_one_that_was_named(monkeypatch, tmp_path):
    for name in peer.SCRIPTS.values():
        (tmp_path / name).touch()
    monkeypatch.setenv(peer.PEER, str(tmp_path / peer.SCRIPTS["sd"]))

    assert peer.script("sdxl") == tmp_path / peer.SCRIPTS["sdxl"]
