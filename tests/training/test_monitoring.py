"""Monitoring measures what it reports, does not change the training, and is read again when it is resumed."""

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
from pipeline.io import accelerator as hardware
from pipeline.io import tracking
from pipeline.methods import method
from pipeline.training import monitoring
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.loop import Hooks, train_to_end
from pipeline.training.task import prepare
from tests.training import world

MONITOR = {"timesteps": 3, "pictures": 4, "prompts": ["{name}", "a {class_noun}"], "seeds": [1, 2], "steps": 2}
OFF = {**MONITOR, "timesteps": 0, "prompts": []}


def _train(paths, folder, *, stop_at: int | None = None, monitor=MONITOR, **changes):
    """Train in `folder` with monitoring beside the state; returns history, reports, snapshots' bytes."""
    run = world.training_run(paths, monitor=monitor, **changes)
    store, reports, steps = CheckpointStore(folder, "x"), [], []
    hooks = Hooks(
        on_step=lambda report: steps.append(report.step),
        log=lambda line: None,
        should_stop=lambda: bool(steps) and steps[-1] == stop_at,
        clock=lambda: 0.0,
        on_monitoring=reports.append,
    )
    accelerator = Accelerator(cpu=True)
    job = prepare(run, accelerator, folder.parent / "cache", folder / "looks")
    history = train_to_end(job, accelerator, store, hooks).history
    return history, reports, _files(store.snapshots)


def _files(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _random_states() -> list:
    return [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]  # noqa: NPY002


@pytest.mark.parametrize("changes", [{}, {"method": "lora", "ema_decay": 0.9}])
def test_a_training_with_monitoring_takes_the_same_steps(project, tmp_path, changes):
    before = _random_states()
    monitored = _train(project, tmp_path / "with", **changes)
    assert _random_states() == before
    without = _train(project, tmp_path / "without", monitor=OFF, **changes)
    assert monitored[0] == without[0] and monitored[2] == without[2]
    assert [report.step for report in monitored[1]] == [0, 2, 6] and without[1] == []
    assert not (tmp_path / "without/looks").exists()


def test_every_report_has_the_same_timesteps_and_is_relative_to_the_first(project, tmp_path):
    _, reports, _ = _train(project, tmp_path / "t")
    assert [list(report.losses) for report in reports] == [[166, 500, 833]] * 3
    assert reports[0].relative == {166: 1.0, 500: 1.0, 833: 1.0} and reports[0].relative_loss == 1.0
    last = reports[-1]
    assert last.relative[500] == last.losses[500] / reports[0].losses[500] != 1.0
    assert last.relative_loss == pytest.approx(sum(last.losses.values()) / sum(reports[0].losses.values()))


@pytest.fixture
def setup(project, tmp_path):
    """The monitoring of the base itself, as the params say."""
    run = world.training_run(project, monitor=MONITOR)
    job = prepare(run, Accelerator(cpu=True), tmp_path / "cache", tmp_path / "looks")
    return job.monitor.args[0]


@torch.no_grad()
def test_the_loss_is_what_plain_diffusers_gives(setup, sd_base):
    from diffusers import DDPMScheduler

    components, scheduler = family("sd").load(sd_base), DDPMScheduler.from_pretrained(sd_base / "scheduler")
    [image] = setup.held_out
    states = family("sd").encode_prompt(components, ["Raphus cucullatus, a painting number 5"]).states
    losses = monitoring.monitor(setup, 0).losses
    for t in setup.timesteps:
        timestep, e = torch.tensor([t]), monitoring._noise(setup, image, t)[None]
        predicted = components.unet(scheduler.add_noise(image.latents[None], e, timestep), timestep, states).sample
        target = scheduler.get_velocity(image.latents[None], e, timestep)
        assert losses[t] == pytest.approx((predicted - target).square().mean().item(), rel=1e-4)


def test_noise_depends_on_the_picture_and_the_timestep_alone(setup):
    [image] = setup.held_out
    other = replace(image, digest="another picture", latents=image.latents.flip(-1))
    alone = monitoring.monitor(replace(setup, folder=setup.folder / "a"), 0).losses
    noises = [monitoring._noise(setup, *pair) for pair in ((image, 166), (image, 500), (other, 166))]
    assert not any(torch.equal(noises[0], noise) for noise in noises[1:])
    both = [
        replace(setup, folder=setup.folder / name, held_out=held)
        for name, held in (("b", (image, other)), ("c", (other, image)))
    ]
    first, second = (monitoring.monitor(each, 0).losses for each in both)
    assert first == pytest.approx(second, rel=1e-5)
    other_alone = monitoring.monitor(replace(setup, folder=setup.folder / "d", held_out=(other,)), 0).losses
    assert first[500] == pytest.approx((alone[500] + other_alone[500]) / 2, rel=1e-5)


def test_a_batch_has_pictures_of_one_shape_and_each_picture_has_every_timestep(setup, monkeypatch):
    [square] = setup.held_out
    wide = replace(square, latents=torch.zeros(4, 4, 16), digest="wide")
    monkeypatch.setattr(monitoring, "MAX_BATCH_CELLS", 2 * 64)
    batches = list(
        monitoring._held_out_batches(replace(setup, held_out=(square, wide, replace(square, digest="third"))))
    )
    assert all(len({image.latents.shape for image, _ in batch}) == 1 and len(batch) <= 2 for batch in batches)
    pairs = [(image.digest, t) for batch in batches for image, t in batch]
    assert len(pairs) == len(set(pairs)) == 9


def test_timesteps_are_the_midpoints_of_equal_intervals():
    assert monitoring.interval_midpoints(8, 1000) == (62, 187, 312, 437, 562, 687, 812, 937)
    assert monitoring.interval_midpoints(1, 1000) == (500,) and monitoring.interval_midpoints(5, 3) == (0, 1, 2)


def test_a_preview_has_its_metadata_and_differs_by_prompt_seed_and_step(project, tmp_path):
    _, reports, _ = _train(project, tmp_path / "t", learning_rate=1e-2)
    assert [preview.file_name for preview in reports[0].previews] == [
        "01-s1.png",
        "01-s2.png",
        "02-s1.png",
        "02-s2.png",
    ]
    image = Image.open(io.BytesIO(reports[1].previews[3].content))
    assert image.size == (16, 16)
    assert image.text == {"prompt": "a bird", "seed": "2", "step": "2"}
    pictures = [
        np.asarray(Image.open(io.BytesIO(preview.content))).tobytes()
        for report in reports
        for preview in report.previews
    ]
    assert len(set(pictures)) == len(pictures)


def test_the_report_is_that_of_the_snapshot(project, tmp_path, sd_base):
    """With EMA too: the snapshot has averaged weights, and so has monitoring."""
    _, reports, _ = _train(project, tmp_path / "t", method="lora", ema_decay=0.9, learning_rate=1e-2)
    run = stage._training_run(world.load(project), project)
    job = prepare(run, Accelerator(cpu=True), tmp_path / "cache", tmp_path / "again")
    restored = method("lora").restore(family("sd").load(sd_base), tmp_path / "t/snapshots/step-000006")
    again = monitoring.monitor(replace(job.monitor.args[0], components=restored), 6)
    assert again.losses == pytest.approx(reports[-1].losses, rel=1e-5)
    assert again.losses != pytest.approx(reports[0].losses, rel=1e-3)


def test_a_resumed_training_reads_the_earlier_reports(project, tmp_path):
    _train(project, tmp_path / "straight")
    with pytest.raises(Interrupted):
        _train(project, tmp_path / "broken", stop_at=4)
    modified = (tmp_path / "broken/looks/step-000002/look.json").stat().st_mtime_ns
    _, reports, _ = _train(project, tmp_path / "broken")
    assert (tmp_path / "broken/looks/step-000002/look.json").stat().st_mtime_ns == modified
    assert [report.step for report in reports] == [0, 6] and reports[-1].relative_loss is not None
    assert _files(tmp_path / "broken/looks") == _files(tmp_path / "straight/looks")


@pytest.mark.parametrize("lost", ["step-000000", "step-000002", "broken"])
def test_a_resumed_training_continues_without_a_report_that_is_gone(project, tmp_path, lost):
    folder = tmp_path / "broken/looks"
    with pytest.raises(Interrupted):
        _train(project, tmp_path / "broken", stop_at=4)
    if lost == "broken":
        (folder / "step-000002/look.json").write_text("{")
    else:
        shutil.rmtree(folder / lost)
    _train(project, tmp_path / "broken")
    left = [0, 2, 6] if lost == "step-000000" else [0, 6]
    found = monitoring.read_reports(folder, (2, 6))
    assert [report.step for report in found] == left, "the first report can be made again, others cannot"
    assert all(report.relative_loss for report in found)


def test_reports_with_other_settings_are_not_used(project, tmp_path):
    with pytest.raises(Interrupted):
        _train(project, tmp_path / "t", stop_at=4)
    _train(project, tmp_path / "t", monitor={**MONITOR, "timesteps": 2})
    found = monitoring.read_reports(tmp_path / "t/looks", (2, 6))
    assert [(report.step, list(report.losses)) for report in found] == [(0, [250, 750]), (6, [250, 750])]


def test_a_report_that_cannot_be_written_does_not_end_the_training(setup, monkeypatch):
    logged = []
    setup = replace(setup, log=logged.append)
    start = monitoring.monitor(setup, 0)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(monitoring.os, "replace", full)
        report = monitoring.monitor(setup, 2)
    assert report.losses and report.before == start.losses and len(report.previews) == 4
    assert logged == [
        "the monitoring of step 2 could not be written (No space left on device); training continues, and its "
        "tables and previews will lack this step"
    ]
    assert [place.name for place in setup.folder.iterdir()] == ["step-000000"], "nothing partial is left"


class FakeRun(tracking.TrackedRun):
    """Stands in for MLflow."""

    def __init__(self):
        self.steps, self.monitored, self.seconds = [], [], {}

    def step(self, report):
        self.steps.append(report)

    def monitoring(self, report):
        self.monitored.append(report)

    def timing(self, seconds, step):
        self.seconds = dict(seconds)


@pytest.fixture
def tracked_run(monkeypatch):
    """Records what MLflow would be given; one thread, since tests run side by side."""
    found = FakeRun()
    monkeypatch.setattr(tracking, "training_run", contextmanager(lambda *_, **__: iter([found])))
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda _: {0})
    return found


def test_the_stage_writes_tables_pictures_and_the_card(project, tracked_run):
    report = stage.train(world.change(project, monitor=MONITOR), project)
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
    assert [report.step for report in tracked_run.monitored] == [0, 2, 6] and len(tracked_run.steps) == 6
    assert all(50 < report.memory_mb < 50_000 for report in tracked_run.steps), "the process has more than 50 MB"
    assert {kind.partition("/")[0] for kind in tracked_run.seconds} == {
        "preparation",
        "monitoring",
        "steps",
        "snapshots",
        "saving",
    }
    assert {"steps/batch", "steps/forward", "steps/backward", "steps/optimiser"} <= set(tracked_run.seconds)
    assert sum(v for k, v in tracked_run.seconds.items() if k.startswith("steps/")) <= tracked_run.seconds["steps"]


def test_without_held_out_pictures_there_are_previews_and_empty_tables(project, tracked_run):
    frame = pd.read_parquet(project.curated / "metadata.parquet")
    frame[frame["split"] == "train"].to_parquet(project.curated / "metadata.parquet")
    stage.train(world.change(project, monitor=MONITOR), project)
    assert (project.model / "held_out.csv").read_text() == "step,timestep,loss,relative\n"
    assert (project.model / "previews/step-000006/02-s2.png").is_file()


def test_a_report_without_losses_has_no_mean():
    assert (
        MonitoringReport(0).loss is None
        and MonitoringReport(0).relative_loss is None
        and MonitoringReport(0).relative == {}
    )


def test_a_compiled_model_is_not_compiled_again_for_monitoring(setup):
    compiled = []

    def backend(graph, _inputs):
        compiled.append(graph)
        return graph.forward

    def predict():
        prompt = setup.encode_prompts(setup.components, slice(0, 1))
        return family("sd").predict(setup.components, setup.held_out[0].latents[None], torch.tensor([7]), prompt)

    plain = monitoring.monitor(setup, 0)
    setup.components.unet.time_embedding.compile(backend=backend)  # all of it would take long
    first, count = predict(), len(compiled)
    again = monitoring.monitor(replace(setup, compiled=True, folder=setup.folder / "again"), 0)
    assert again.losses == plain.losses
    assert torch.equal(predict(), first) and len(compiled) == count >= 1
    monitoring.monitor(replace(setup, folder=setup.folder / "third"), 0)
    assert len(compiled) > count, "without `compiled` it is compiled"
