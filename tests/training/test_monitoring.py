"""Looks measure what they say, keep out of the training's way, and are there when it goes on."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import Accelerator
from PIL import Image

from pipeline import train as stage
from pipeline.core.errors import Interrupted
from pipeline.core.records import MonitoringReport
from pipeline.families import family
from pipeline.io import tracking
from pipeline.methods import method
from pipeline.training import monitoring
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.loop import Hooks, run
from pipeline.training.task import prepare
from tests.training import world

LOOK = {"timesteps": 3, "pictures": 4, "prompts": ["{name}", "a {class_noun}"], "seeds": [1, 2], "steps": 2}
NOTHING = {**LOOK, "timesteps": 0, "prompts": []}


def _train(paths, folder, *, stop_at: int | None = None, monitor=LOOK, **changes):
    """Train in `folder` with looks beside the state; returns history, looks that were told, snapshots' bytes."""
    task = stage._training_run(world.change(paths, monitor=monitor, **changes), paths)
    saves, told, seen = CheckpointStore(folder, "x"), [], []
    hooks = Hooks(
        report=lambda report: seen.append(report.step),
        say=lambda words: None,
        stopping=lambda: bool(seen) and seen[-1] == stop_at,
        clock=lambda: 0.0,
        looked=told.append,
    )
    accelerator = Accelerator(cpu=True)
    job = prepare(task, accelerator, folder.parent / "cache", folder / "looks")
    history = run(job, accelerator, saves, hooks).history
    return history, told, _files(saves.snapshots)


def _files(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _random_states() -> list:
    return [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]  # noqa: NPY002


@pytest.mark.parametrize("changes", [{}, {"method": "lora", "ema_decay": 0.9}])
def test_a_training_with_looks_takes_the_same_steps(project, tmp_path, changes):
    before = _random_states()
    with_looks = _train(project, tmp_path / "with", **changes)
    assert _random_states() == before
    without = _train(project, tmp_path / "without", monitor=NOTHING, **changes)
    assert with_looks[0] == without[0] and with_looks[2] == without[2]
    assert [look.step for look in with_looks[1]] == [0, 2, 6] and without[1] == []
    assert not (tmp_path / "without/looks").exists()


def test_every_look_has_the_grid_and_is_relative_to_the_first(project, tmp_path):
    _, told, _ = _train(project, tmp_path / "t")
    assert [list(look.losses) for look in told] == [[166, 500, 833]] * 3
    assert told[0].relative == {166: 1.0, 500: 1.0, 833: 1.0} and told[0].relative_loss == 1.0
    last = told[-1]
    assert last.relative[500] == last.losses[500] / told[0].losses[500] != 1.0
    assert last.relative_loss == pytest.approx(sum(last.losses.values()) / sum(told[0].losses.values()))


@pytest.fixture
def view(project, tmp_path):
    """A look at the base itself, as the params want it."""
    task = stage._training_run(world.change(project, monitor=LOOK), project)
    job = prepare(task, Accelerator(cpu=True), tmp_path / "cache", tmp_path / "looks")
    return job.monitor.args[0]


@torch.no_grad()
def test_the_loss_is_what_plain_diffusers_gives(view, sd_base):
    from diffusers import DDPMScheduler

    parts, scheduler = family("sd").load(sd_base), DDPMScheduler.from_pretrained(sd_base / "scheduler")
    [one] = view.held_out
    said = family("sd").encode_prompt(parts, ["Raphus cucullatus, a painting number 5"]).states
    told = monitoring.monitor(view, 0).losses
    for t in view.timesteps:
        when, e = torch.tensor([t]), monitoring._noise(view, one, t)[None]
        answer = parts.unet(scheduler.add_noise(one.latents[None], e, when), when, said).sample
        wanted = scheduler.get_velocity(one.latents[None], e, when)
        assert told[t] == pytest.approx((answer - wanted).square().mean().item(), rel=1e-4)


def test_noise_follows_the_picture_and_the_timestep_alone(view):
    [one] = view.held_out
    other = replace(one, digest="another picture", latents=one.latents.flip(-1))
    alone = monitoring.monitor(replace(view, folder=view.folder / "a"), 0).losses
    noises = [monitoring._noise(view, *pair) for pair in ((one, 166), (one, 500), (other, 166))]
    assert not any(torch.equal(noises[0], noise) for noise in noises[1:])
    both = [
        replace(view, folder=view.folder / name, held_out=held)
        for name, held in (("b", (one, other)), ("c", (other, one)))
    ]
    first, second = (monitoring.monitor(each, 0).losses for each in both)
    assert first == pytest.approx(second, rel=1e-5)
    other_alone = monitoring.monitor(replace(view, folder=view.folder / "d", held_out=(other,)), 0).losses
    assert first[500] == pytest.approx((alone[500] + other_alone[500]) / 2, rel=1e-5)


def test_pictures_of_one_shape_go_together_and_each_meets_every_timestep(view, monkeypatch):
    [square] = view.held_out
    wide = replace(square, latents=torch.zeros(4, 4, 16), digest="wide")
    monkeypatch.setattr(monitoring, "CELLS_AT_ONCE", 2 * 64)
    batches = list(monitoring._batches(replace(view, held_out=(square, wide, replace(square, digest="third")))))
    assert all(len({one.latents.shape for one, _ in batch}) == 1 and len(batch) <= 2 for batch in batches)
    pairs = [(one.digest, t) for batch in batches for one, t in batch]
    assert len(pairs) == len(set(pairs)) == 9


def test_the_grid_has_the_middles_of_equal_parts():
    assert monitoring.centres(8, 1000) == (62, 187, 312, 437, 562, 687, 812, 937)
    assert monitoring.centres(1, 1000) == (500,) and monitoring.centres(5, 3) == (0, 1, 2)


def test_a_preview_says_what_it_is_and_differs_by_prompt_seed_and_step(project, tmp_path):
    _, told, _ = _train(project, tmp_path / "t", learning_rate=1e-2)
    assert [one.file_name for one in told[0].previews] == ["01-s1.png", "01-s2.png", "02-s1.png", "02-s2.png"]
    image = Image.open(io.BytesIO(told[1].previews[3].content))
    assert image.size == (16, 16)
    assert image.text == {"prompt": "a bird", "seed": "2", "step": "2"}
    pictures = [np.asarray(Image.open(io.BytesIO(one.content))).tobytes() for look in told for one in look.previews]
    assert len(set(pictures)) == len(pictures)


def test_what_is_seen_is_what_the_snapshot_gives(project, tmp_path, sd_base):
    """With EMA too: the snapshot has averaged weights, and so has the look."""
    _, told, _ = _train(project, tmp_path / "t", method="lora", ema_decay=0.9, learning_rate=1e-2)
    task = stage._training_run(world.load(project), project)
    job = prepare(task, Accelerator(cpu=True), tmp_path / "cache", tmp_path / "again")
    restored = method("lora").restore(family("sd").load(sd_base), tmp_path / "t/snapshots/step-000006")
    again = monitoring.monitor(replace(job.monitor.args[0], parts=restored), 6)
    assert again.losses == pytest.approx(told[-1].losses, rel=1e-5)
    assert again.losses != pytest.approx(told[0].losses, rel=1e-3)


def test_a_resume_finds_the_earlier_looks(project, tmp_path):
    _train(project, tmp_path / "straight")
    with pytest.raises(Interrupted):
        _train(project, tmp_path / "broken", stop_at=4)
    stamp = (tmp_path / "broken/looks/step-000002/look.json").stat().st_mtime_ns
    _, told, _ = _train(project, tmp_path / "broken")
    assert (tmp_path / "broken/looks/step-000002/look.json").stat().st_mtime_ns == stamp
    assert [look.step for look in told] == [0, 6] and told[-1].relative_loss is not None
    assert _files(tmp_path / "broken/looks") == _files(tmp_path / "straight/looks")


@pytest.mark.parametrize("lost", ["step-000000", "step-000002", "broken"])
def test_a_resume_goes_on_without_a_look_that_is_gone(project, tmp_path, lost):
    folder = tmp_path / "broken/looks"
    with pytest.raises(Interrupted):
        _train(project, tmp_path / "broken", stop_at=4)
    if lost == "broken":
        (folder / "step-000002/look.json").write_text("{")
    else:
        shutil.rmtree(folder / lost)
    _train(project, tmp_path / "broken")
    left = [0, 2, 6] if lost == "step-000000" else [0, 6]
    found = monitoring.earlier(folder, (2, 6))
    assert [look.step for look in found] == left, "the first look can be made again, others cannot"
    assert all(look.relative_loss for look in found)


def test_other_settings_begin_anew(project, tmp_path):
    with pytest.raises(Interrupted):
        _train(project, tmp_path / "t", stop_at=4)
    _train(project, tmp_path / "t", monitor={**LOOK, "timesteps": 2})
    found = monitoring.earlier(tmp_path / "t/looks", (2, 6))
    assert [(look.step, list(look.losses)) for look in found] == [(0, [250, 750]), (6, [250, 750])]


def test_a_look_that_cannot_be_written_does_not_end_the_training(view, monkeypatch):
    said = []
    view = replace(view, say=said.append)
    start = monitoring.monitor(view, 0)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(monitoring.os, "replace", full)
        seen = monitoring.monitor(view, 2)
    assert seen.losses and seen.before == start.losses and len(seen.previews) == 4
    assert said == [
        "the look at step 2 could not be written (No space left on device); the training goes on, and its "
        "tables and previews will lack it"
    ]
    assert [place.name for place in view.folder.iterdir()] == ["step-000000"], "no rest takes up the room"


class Listener(tracking.TrackedRun):
    """Stands in for the run in MLflow."""

    def __init__(self):
        self.steps, self.looks, self.seconds = [], [], {}

    def step(self, report):
        self.steps.append(report)

    def monitoring(self, report):
        self.looks.append(report)

    def timing(self, seconds, step):
        self.seconds = dict(seconds)


@pytest.fixture
def listener(monkeypatch):
    """The stage tells it what MLflow would be told; one thread, since tests run side by side."""
    found = Listener()
    monkeypatch.setattr(tracking, "training_run", contextmanager(lambda *_, **__: iter([found])))
    monkeypatch.setattr(stage.os, "sched_getaffinity", lambda _: {0})
    return found


def test_the_stage_writes_tables_pictures_and_the_card(project, listener):
    report = stage.train(world.change(project, monitor=LOOK), project)
    table = pd.read_csv(project.model / "held_out.csv")
    assert list(table.columns) == ["step", "timestep", "loss", "relative"] and len(table) == 9
    mean = pd.read_csv(project.model / "held_out_mean.csv")
    assert mean["step"].tolist() == [0, 2, 6] and mean["relative"][0] == 1.0
    assert mean["loss"][2] == pytest.approx(table[table["step"] == 6]["loss"].mean(), rel=1e-4)
    assert len(list(project.model.glob("previews/step-00000[026]/0?-s?.png"))) == 12
    card = json.loads((project.model / "card.json").read_text())
    assert [row["step"] for row in card["held_out"]] == [0, 2, 6] and card["held_out"][0]["relative"] == 1.0
    assert f"held-out loss {mean['relative'][2]:.1%} of step 0's" in report.lines[0]
    assert report.lines[1].startswith("where the time went") and any("forward" in line for line in report.lines)
    assert [look.step for look in listener.looks] == [0, 2, 6] and len(listener.steps) == 6
    assert all(50 < told.memory_mb < 50_000 for told in listener.steps), "the process has more than 50 MB"
    assert {kind.partition("/")[0] for kind in listener.seconds} == {
        "preparation",
        "looks",
        "steps",
        "snapshots",
        "saving",
    }
    assert {"steps/batch", "steps/forward", "steps/backward", "steps/optimiser"} <= set(listener.seconds)
    assert sum(v for k, v in listener.seconds.items() if k.startswith("steps/")) <= listener.seconds["steps"]


def test_without_held_out_pictures_there_are_previews_and_empty_tables(project, listener):
    frame = pd.read_parquet(project.curated / "metadata.parquet")
    frame[frame["split"] == "train"].to_parquet(project.curated / "metadata.parquet")
    stage.train(world.change(project, monitor=LOOK), project)
    assert (project.model / "held_out.csv").read_text() == "step,timestep,loss,relative\n"
    assert (project.model / "previews/step-000006/02-s2.png").is_file()


def test_a_report_without_losses_has_no_mean():
    assert (
        MonitoringReport(0).loss is None
        and MonitoringReport(0).relative_loss is None
        and MonitoringReport(0).relative == {}
    )


def test_a_compiled_model_is_not_compiled_again_for_a_look(view):
    compiled = []

    def backend(graph, _inputs):
        compiled.append(graph)
        return graph.forward

    def answer():
        told = view.prompts(view.components, slice(0, 1))
        return family("sd").predict(view.components, view.held_out[0].latents[None], torch.tensor([7]), told)

    plain = monitoring.monitor(view, 0)
    view.components.unet.time_embedding.compile(backend=backend)  # all of it would take long
    first, count = answer(), len(compiled)
    again = monitoring.monitor(replace(view, compiled=True, folder=view.folder / "again"), 0)
    assert again.losses == plain.losses
    assert torch.equal(answer(), first) and len(compiled) == count >= 1
    monitoring.monitor(replace(view, folder=view.folder / "third"), 0)
    assert len(compiled) > count, "a look that does not say so is compiled"
