"""Stage `train`: one base, one species, one trajectory with snapshots on the way.

Run alone or by `accelerate launch`, with one process or many: the result is the same. Unfinished work lies in
`.work/train/<lineage id>/` and is continued by the next run; `models/<species>/` appears when all is done.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import GateError, InputError
from pipeline.core.import_closure import code_digest
from pipeline.core.lineage import digest_json
from pipeline.core.params import Params
from pipeline.core.paths import Paths
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import MonitoringReport, Report, StepReport, Subject
from pipeline.families import check_base, family
from pipeline.io import accelerator as hardware
from pipeline.io import tracking
from pipeline.io.files import atomic_write, monitoring_files, parquet
from pipeline.io.files.model_folders import model_folder, weights_digest
from pipeline.io.terminal import training_console
from pipeline.io.terminal.clock import monotonic
from pipeline.methods import method
from pipeline.methods.method import Method
from pipeline.methods.resolution import check_pair, resolved_params
from pipeline.training import monitoring, preflight
from pipeline.training.checkpoint import identity
from pipeline.training.checkpoint.identity import Identity
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.data import captions, masks
from pipeline.training.data.latent_cache import TrainingImage
from pipeline.training.distributed import oom_advice
from pipeline.training.loop import HISTORY_COLUMNS, Hooks, TrainingJob, split_batch, train_to_end
from pipeline.training.lr_schedules import lr_schedule
from pipeline.training.optimisers import check_optimiser
from pipeline.training.task import Callbacks, prepare
from pipeline.training.timing import StepTimer
from pipeline.training.training_run import TrainingRun

if TYPE_CHECKING:
    from accelerate import Accelerator

LICENCE_COLUMNS = ["file_name", "licence", "author", "page_url"]
NO_INFLUENCE = {"save_every_steps", "keep_states", "monitor", "gradient_checkpointing"}  # on the weights


def train(params: Params, paths: Paths, *, resume: bool = False) -> Report | None:
    """Fine-tune the base on one species; returns a report in the main process, None in the others.

    It continues where the same training was interrupted; with `resume` it does not start a new one.

    Raises
    ------
    InputError
        With `resume`, when there is nothing to continue: it names what has changed. When it is running already.
    GateError
        When the data set was not validated, or was refused.
    Interrupted
        After SIGTERM or Ctrl-C: the step was finished and the state is saved; during preparation, what was encoded so
        far is kept.
    """
    run = _training_run(params, paths)
    preflight.check(run, log=lambda line: None)
    store = CheckpointStore(paths.work / "train" / run.identity.lineage_id, run.identity.lineage_id)
    if resume:
        identity.check_resumable(store, run.identity, run.train.snapshots)
    launched = hardware.launch_settings(run.train.optimiser)
    split_batch(run.train.batch_size, launched.n_processes, launched.n_parts, 0)
    with ExitStack() as locked:  # until the result is written
        with hardware.stop_requests() as should_stop, hardware.accelerated(launched) as accelerator:
            if accelerator.is_main_process:
                locked.enter_context(store.lock())
                for line in identity.record_start(store, run.identity, hardware.environment_of(accelerator)):
                    accelerator.print(line)
            session = _Session(run, paths, store, accelerator, should_stop, launched.sharded)
            del run  # the session drops the bytes of its pictures
            history, timer = session.train(params)
            if not accelerator.is_main_process:
                return None
        return _publish(session.run, params.base.path, paths, store, history, timer)


@dataclass
class _Session:
    """A training run in this process."""

    run: TrainingRun  # without the pictures' bytes, once they are encoded
    paths: Paths
    store: CheckpointStore
    accelerator: Accelerator
    should_stop: Callable[[], bool]
    sharded: bool

    def train(self, params: Params) -> tuple[list[list[float]], StepTimer]:
        """Prepare and train to the end; the numbers of every step, and the seconds by kind of work."""
        timer = StepTimer(monotonic, marks=self.accelerator.device.type)
        with tracking.training_run(
            params,
            self.paths,
            lineage_id=self.store.lineage_id,
            resumed_from=self.store.step,
            main_process=self.accelerator.is_main_process,
        ) as tracked:
            job = self._prepare(timer)
            self.run = self.run.without_bytes()
            history = self._train(job, timer, tracked)
            tracked.timing(timer.seconds, self.run.train.steps)
        return history, timer

    def _prepare(self, timer: StepTimer) -> TrainingJob:
        main_process, name = self.accelerator.is_main_process, f"train {self.paths.species}"
        with (
            oom_advice.oom_explained(self.run.train, self.accelerator, self.store),
            timer.measure("preparation"),
            training_console.preparation_progress(name, main_process=main_process) as on_progress,
        ):
            callbacks = Callbacks(
                log=self.accelerator.print,
                on_progress=timer.timed_progress("preparation", on_progress),
                mark=timer.mark,
                should_stop=self.should_stop,
            )
            return prepare(
                self.run,
                self.accelerator,
                self.paths.work / "cache",
                _monitoring_dir(self.store),
                callbacks,
                sharded=self.sharded,
            )

    def _train(self, job: TrainingJob, timer: StepTimer, tracked: tracking.TrackedRun) -> list[list[float]]:
        train, main_process, name = self.run.train, self.accelerator.is_main_process, f"train {self.paths.species}"
        with (
            oom_advice.oom_explained(train, self.accelerator, self.store, job),
            training_console.training_progress(name, train.steps, main_process=main_process) as show,
        ):

            def on_step(report: StepReport) -> None:
                tracked.step(report)
                show(report)

            def on_monitoring(report: MonitoringReport) -> None:
                tracked.monitoring(report)
                show(report)

            hooks = Hooks(
                on_step=on_step,
                on_monitoring=on_monitoring,
                log=self.accelerator.print,
                should_stop=self.should_stop,
                clock=monotonic,
                memory_mb=hardware.peak_memory_mb(self.accelerator),
            )
            return train_to_end(job, self.accelerator, self.store, hooks, timer).history


def _publish(
    run: TrainingRun, base: str, paths: Paths, store: CheckpointStore, history: list[list[float]], timer: StepTimer
) -> Report:
    """Put the snapshots in place of the last result, all or none; nothing of the training is left in `.work/`.

    `base` is the base's path as params.yaml has it.
    """
    reports: tuple[MonitoringReport, ...] = ()
    if monitoring.is_enabled(run.train.monitor, run.holdout):  # those before an interruption too
        reports = monitoring.read_reports(_monitoring_dir(store), run.train.snapshots)
    with atomic_write.fresh_folder(paths.model) as folder:
        shutil.copytree(store.snapshots, folder, copy_function=_link, dirs_exist_ok=True)
        atomic_write.write_text(folder / "train.csv", _csv(history))
        monitoring_files.write(folder, reports)
        atomic_write.write_card(folder, **_card(run, base), held_out=monitoring_files.card(reports))
    store.clear()
    return _report(run, paths, history, reports, timer)


def _training_run(params: Params, paths: Paths) -> TrainingRun:
    """Read everything that decides the result; whatever can be refused without loading a model is refused here."""
    base_family, chosen = family(params.base.family), method(params.train.method)
    check_pair(chosen, base_family)
    check_optimiser(params.train, chosen)
    lr_schedule(params.train.lr_schedule)
    dataset = _validated_dataset(paths)
    base = model_folder(paths.root, params.base.path)
    check_base(base, base_family.name)
    base_digest = weights_digest(base)
    species = params.species[paths.species]
    subject = Subject(paths.species, species.name, species.class_noun)
    pictures = _pictures(paths, subject, params.train.captions, "train")
    pictures = _with_masks(pictures, params.train.masks.background_weight, paths)
    identity = Identity(
        paths.species,
        dataset=dataset,
        base=base_digest,
        params=_deciding_params(params, chosen, subject) | masks.mask_digests(pictures),
        code=code_digest(["pipeline.train", type(chosen).__module__, type(base_family).__module__]),
    )
    return TrainingRun(
        family=base_family,
        method=chosen,
        base=base,
        subject=subject,
        pictures=pictures,
        holdout=_pictures(paths, subject, params.train.captions, "holdout"),
        prior_prompt=fill_prompt(params.train.prior.prompt, name=species.name, class_noun=species.class_noun),
        train=params.train,
        seed=params.seed,
        identity=identity,
        metadata={
            # Where a snapshot comes from, for the header of each of its files; nothing of the machine that made it.
            "lineage_id": identity.lineage_id,
            "base_digest": base_digest,
            "dataset_digest": dataset,
            "licences_digest": _licences(paths),
            "species": paths.species,
            "trigger": chosen.trigger(subject),
            "method": chosen.name,
            "family": base_family.name,
            "base": Path(params.base.path).name if Path(params.base.path).is_absolute() else params.base.path,
        },
    )


def _licences(paths: Paths) -> str:
    """Digest of the sorted rows (file, licence, author, page) of the training pictures.

    `data/curated/<species>/metadata.parquet` has the rows; a picture's file is named after the digest of its bytes.
    """
    table = parquet.read(paths.curated / "metadata.parquet")
    rows = table[table["split"] == "train"].reindex(columns=LICENCE_COLUMNS).fillna("")
    return digest_json(sorted(rows.astype(str).values.tolist()))


def _validated_dataset(paths: Paths) -> str:
    """The digest of the data set, which must have passed its expectations."""
    digest = atomic_write.read_card(paths.curated)["digest"]
    path = paths.validation / "verdict.json"
    if not path.is_file():
        raise GateError(f"{paths.species} was not validated, so not trained on; run `paleo validate {paths.species}`")
    verdict = atomic_write.read_json(path, {"success": bool, "dataset_digest": str})
    if not verdict["success"]:
        reasons = ", ".join(verdict["stopped"])
        raise GateError(f"{paths.species} is not trained: its data set was refused ({reasons}); see {paths.validation}")
    if verdict["dataset_digest"] != digest:
        raise GateError(f"{paths.species} changed after it was validated; run `paleo validate {paths.species}` again")
    return digest


def _pictures(paths: Paths, subject: Subject, templates: tuple[str, ...], split: str) -> tuple[TrainingImage, ...]:
    """The pictures of a split, sorted; every caption has the species' name in it."""
    table = parquet.read(paths.curated / "metadata.parquet")
    rows = table[table["split"] == split].sort_values("file_name")
    if rows.empty and split == "train":
        raise InputError(f"{paths.curated} has no picture to train on; run `paleo curate {paths.species}`")
    return tuple(
        TrainingImage(
            row.file_name,
            _content(paths.curated / row.file_name),
            captions.with_name(row.caption, subject.name),
            captions.fill_templates(row.caption, templates, subject),
        )
        for row in rows.itertuples()
    )


def _with_masks(
    pictures: tuple[TrainingImage, ...], background_weight: float, paths: Paths
) -> tuple[TrainingImage, ...]:
    """The pictures with their masks, which are read only where black counts less than white."""
    if background_weight == 1:
        return pictures
    files = sorted(path for path in paths.masks.glob("*") if not path.name.startswith("."))
    picture_names = {path.name for split in ("train", "holdout") for path in (paths.curated / split).glob("*")}
    return masks.assign_masks(
        pictures,
        {path.name: _content(path) for path in files},
        paths.masks.relative_to(paths.root),
        background_weight,
        picture_names,
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); run `paleo curate` on it again") from error


def _deciding_params(params: Params, chosen: Method, subject: Subject) -> dict[str, Any]:
    """The params that the weights depend on; where pictures come from is in the data set's digest."""
    return {
        "seed": params.seed,
        "species": {"name": subject.name, "class_noun": subject.class_noun},
        "family": params.base.family,
        "train": resolved_params(chosen, params.train, exclude=NO_INFLUENCE),
    }


def _monitoring_dir(store: CheckpointStore) -> Path:
    return store.folder / "looks"  # as earlier versions wrote it


def _link(source: str, target: str) -> None:
    """A second name for a file instead of a copy: the first one is removed when the export is complete."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _csv(history: list[list[float]]) -> str:
    rows = [",".join([str(step), *(f"{value:.6g}" for value in row)]) for step, row in enumerate(history, start=1)]
    return "\n".join([",".join(["step", *HISTORY_COLUMNS]), *rows]) + "\n"


def _card(run: TrainingRun, base: str) -> dict[str, Any]:
    return {
        "stage": "train",
        **run.metadata,
        "name": run.subject.name,
        "base": base,
        "steps": run.train.steps,
        "params": {"seed": run.seed, **resolved_params(run.method, run.train, exclude=set())},
        "snapshots": [{"step": step, "path": f"step-{step:06d}"} for step in run.train.snapshots],
    }


def _report(
    run: TrainingRun, paths: Paths, history: list[list[float]], reports: Sequence[MonitoringReport], timer: StepTimer
) -> Report:
    last = history[-max(1, len(history) // 10) :]
    loss = sum(row[0] for row in last) / len(last)
    snapshots = ", ".join(map(str, run.train.snapshots))
    losses = ", ".join(filter(None, [f"loss {loss:.4f} over the last tenth", monitoring_files.words(reports)]))
    line = (
        f"train {paths.species}: {run.train.steps} steps ({run.train.method}) on {len(run.pictures)} pictures, "
        f"{losses}; snapshots {snapshots} in {paths.model.relative_to(paths.root)}"
    )
    table = training_console.time_table(timer.seconds)
    return Report("train", (line, *table), {"loss": loss, "steps": run.train.steps})
