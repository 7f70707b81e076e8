"""train: one base, one species, one trajectory with snapshots on the way.

Run alone or by `accelerate launch`, with one process or many: the result is the same. Unfinished work lies in
`.work/train/<lineage id>/` and is continued by the next run; `models/<species>/` appears when all is done.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import GateError, InputError
from pipeline.core.import_closure import code_digest
from pipeline.core.lineage import digest_json
from pipeline.core.params import Params, Train
from pipeline.core.paths import Paths
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import MonitoringReport, Report, Subject
from pipeline.families import check_base
from pipeline.io import tracking
from pipeline.io.files import atomic_write, monitoring_files, parquet
from pipeline.io.files.model_folders import model_folder, weights_digest
from pipeline.io.terminal import training_console
from pipeline.methods import check_pair, other_sections, trigger
from pipeline.training import monitoring, preflight
from pipeline.training.checkpoint import identity
from pipeline.training.checkpoint.identity import Identity
from pipeline.training.checkpoint.state import CheckpointStore
from pipeline.training.data import captions, masks
from pipeline.training.data.latent_cache import TrainingImage
from pipeline.training.distributed import hardware, oom_advice
from pipeline.training.loop import COLUMNS, Hooks, TrainingJob, run, share
from pipeline.training.optimisers import check_optimiser
from pipeline.training.task import TrainingTask, prepare, without_bytes
from pipeline.training.timing import StepTimer

if TYPE_CHECKING:
    from accelerate import Accelerator

LICENCE_COLUMNS = ["file_name", "licence", "author", "page_url"]
WAIT_HOURS = 12  # for another process
NO_INFLUENCE = {"save_every_steps", "keep_states", "monitor", "gradient_checkpointing"}  # on the weights


def train(params: Params, paths: Paths, *, resume: bool = False) -> Report | None:
    """Fine-tune the base on one species; returns a report in the main process, None in the others.

    It goes on by itself where the same training was interrupted; with `resume` it does that and nothing else.

    Raises
    ------
    InputError
        With `resume`, when there is nothing to go on with: it names what has changed. When it is running already.
    GateError
        When the data set was not validated, or was refused.
    Interrupted
        When told to stop (SIGTERM, Ctrl-C): the step was finished and the state is saved; during preparation, what
        was encoded so far is kept.
    """
    task = _task(params, paths)
    preflight.check(task.family, task.base, task.train, task.subject, task.pictures, say=lambda line: None)
    saves = CheckpointStore(paths.work / "train" / task.stamp["lineage_id"], task.stamp["lineage_id"])
    if resume:
        identity.refuse_to_start(saves, task.identity, params.train.snapshots)
    with ExitStack() as held:  # the lock, until the result is written
        with _stop_requests() as stopping, _accelerated(params.train) as accelerator:
            if accelerator.is_main_process:
                held.enter_context(saves.alone())
                for line in identity.begin(saves, task.identity, _means(accelerator)):
                    accelerator.print(line)
            spent = StepTimer(time.monotonic, marks=accelerator.device.type)
            with tracking.training_run(
                params,
                paths,
                lineage_id=saves.lineage_id,
                resumed_from=saves.step,
                main_process=accelerator.is_main_process,
            ) as tracked:
                job = _prepared(task, paths, saves, accelerator, stopping, spent)
                task = without_bytes(task)  # nobody needs the files any more, so their memory is free
                name = f"train {paths.species}"
                history = _trained(job, params.train, name, saves, accelerator, stopping, spent, tracked)
            if not accelerator.is_main_process:
                return None
        return _published(task, params, paths, saves, history, spent)


def _published(
    task: TrainingTask,
    params: Params,
    paths: Paths,
    saves: CheckpointStore,
    history: list[list[float]],
    spent: StepTimer,
) -> Report:
    """Put the snapshots in place of the last result, all or none; nothing of the training is left in `.work/`."""
    seen = _seen(task, saves)
    with atomic_write.fresh_folder(paths.model) as folder:
        shutil.copytree(saves.snapshots, folder, copy_function=_link, dirs_exist_ok=True)
        atomic_write.write_text(folder / "train.csv", _csv(history))
        monitoring_files.write(folder, seen)
        atomic_write.write_card(folder, **_card(task, params, paths), held_out=monitoring_files.card(seen))
    saves.clear()
    return _report(task, params, paths, history, seen, spent)


def _task(params: Params, paths: Paths) -> TrainingTask:
    """Read everything that decides the result; whatever can be refused without loading a model is refused here."""
    check_pair(params.train.method, params.base.family)
    check_optimiser(params.train)
    dataset = _gate(paths)
    base = model_folder(paths.root, params.base.path)
    check_base(base, params.base.family)
    base_digest = weights_digest(base)
    species = params.species[paths.species]
    subject = Subject(paths.species, species.name, species.class_noun)
    pictures = _masked(_pictures(paths, subject, params.train.captions, "train"), params, paths)
    deciding = _deciding(params, paths.species) | masks.digests(pictures)
    same = Identity(paths.species, dataset=dataset, base=base_digest, params=deciding, code=_code(params))
    return TrainingTask(
        family=params.base.family,
        base=base,
        subject=subject,
        pictures=pictures,
        holdout=_pictures(paths, subject, params.train.captions, "holdout"),
        prior_prompt=fill_prompt(params.train.prior.prompt, name=species.name, class_noun=species.class_noun),
        train=params.train,
        seed=params.seed,
        identity=same,
        stamp=_stamp(params, paths, lineage_id=same.lineage_id, base_digest=base_digest, dataset_digest=dataset),
    )


def _stamp(params: Params, paths: Paths, **digests: str) -> dict[str, str]:
    """Where a checkpoint comes from, for the header of each of its files; nothing of the machine that made it."""
    base, species = Path(params.base.path), params.species[paths.species]
    subject = Subject(paths.species, species.name, species.class_noun)
    return {
        **digests,
        "licences_digest": _licences(paths),
        "species": paths.species,
        "trigger": trigger(params.train.method, subject),
        "method": params.train.method,
        "family": params.base.family,
        "base": base.name if base.is_absolute() else base.as_posix(),
    }


def _licences(paths: Paths) -> str:
    """Digest of the sorted rows (file, licence, author, page) of the training pictures: who owns what it has learnt.

    `data/curated/<species>/metadata.parquet` has the rows; a picture's file is named after the digest of its bytes.
    """
    table = parquet.read(paths.curated / "metadata.parquet")
    rows = table[table["split"] == "train"].reindex(columns=LICENCE_COLUMNS).fillna("")
    return digest_json(sorted(rows.astype(str).values.tolist()))


def _gate(paths: Paths) -> str:
    """The digest of the data set, which its expectations have let pass."""
    digest = atomic_write.read_card(paths.curated)["digest"]
    path = paths.validation / "verdict.json"
    if not path.is_file():
        raise GateError(f"{paths.species} was not validated, so not trained on; run `paleo validate {paths.species}`")
    verdict = atomic_write.read_json(path)
    if not verdict["success"]:
        reasons = ", ".join(verdict["stopped"])
        raise GateError(f"{paths.species} is not trained: its data set was refused ({reasons}); see {paths.validation}")
    if verdict["dataset_digest"] != digest:
        raise GateError(f"{paths.species} changed after it was validated; run `paleo validate {paths.species}` again")
    return digest


def _pictures(paths: Paths, subject: Subject, templates: tuple[str, ...], split: str) -> tuple[TrainingImage, ...]:
    """The pictures of a split, sorted; each sentence has the species' name in it, or there is no word to learn."""
    table = parquet.read(paths.curated / "metadata.parquet")
    rows = table[table["split"] == split].sort_values("file_name")
    if rows.empty and split == "train":
        raise InputError(f"{paths.curated} has no picture to train on; run `paleo curate {paths.species}`")
    return tuple(
        TrainingImage(
            row.file_name,
            _content(paths.curated / row.file_name),
            captions.named(row.caption, subject.name),
            captions.sentences(row.caption, templates, subject),
        )
        for row in rows.itertuples()
    )


def _masked(pictures: tuple[TrainingImage, ...], params: Params, paths: Paths) -> tuple[TrainingImage, ...]:
    """The pictures with their masks, which are read only where black counts less than white."""
    if params.train.masks.background_weight == 1:
        return pictures
    files = sorted(path for path in paths.masks.glob("*") if not path.name.startswith("."))
    known = {path.name for split in ("train", "holdout") for path in (paths.curated / split).glob("*")}
    return masks.assigned(
        pictures,
        {path.name: _content(path) for path in files},
        paths.masks.relative_to(paths.root),
        params.train.masks.background_weight,
        known,
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); run `paleo curate` on it again") from error


def _deciding(params: Params, species: str) -> dict[str, Any]:
    """The params that the weights depend on; where pictures come from is in the data set's digest."""
    words = params.species[species].model_dump(include={"name", "class_noun"})
    train = params.train.model_dump(mode="json", exclude=NO_INFLUENCE | other_sections(params.train.method))
    return {"seed": params.seed, "species": words, "family": params.base.family, "train": train}


def _code(params: Params) -> str:
    chosen = (f"pipeline.methods.{params.train.method}", f"pipeline.families.{params.base.family}")
    return code_digest(["pipeline.train", *chosen])


def _prepared(
    task: TrainingTask,
    paths: Paths,
    saves: CheckpointStore,
    accelerator: Accelerator,
    stopping: Callable[[], bool],
    spent: StepTimer,
) -> TrainingJob:
    with (
        oom_advice.explained(task.train, accelerator, saves),
        spent.on("preparation"),
        training_console.preparing(f"train {paths.species}", main_process=accelerator.is_main_process) as tell,
    ):
        return prepare(
            task,
            accelerator,
            paths.work / "cache",
            _looks(saves),
            say=accelerator.print,
            told=spent.telling("preparation", tell),
            sharded=hardware.launched(os.environ).sharded,
            mark=spent.mark,
            stopping=stopping,
        )


def _trained(
    job: TrainingJob,
    train: Train,
    name: str,
    saves: CheckpointStore,
    accelerator: Accelerator,
    stopping: Callable[[], bool],
    spent: StepTimer,
    tracked: tracking.TrackedRun,
) -> list[list[float]]:
    """Run it; returns the numbers of every step."""
    with (
        oom_advice.explained(train, accelerator, saves, job),
        training_console.shown(name, train.steps, main_process=accelerator.is_main_process) as show,
    ):
        hooks = Hooks(
            report=lambda step: (tracked.step(step), show(step)),
            say=accelerator.print,
            stopping=stopping,
            clock=time.monotonic,
            looked=lambda look: (tracked.monitoring(look), show(look)),
            memory_mb=_memory_mb(accelerator),
        )
        progress = run(job, accelerator, saves, hooks, spent)
    tracked.timing(spent.seconds, train.steps)
    return progress.history


def _means(accelerator: Accelerator) -> dict[str, str]:
    """What a training may go on without, but not to the same bytes."""
    libraries = ("torch", "diffusers", "transformers", "peft", "accelerate")
    means = {"device": accelerator.device.type, "mixed precision": accelerator.mixed_precision}
    return means | {name: version(name) for name in libraries}


def _looks(saves: CheckpointStore) -> Path:
    return saves.folder / "looks"


def _seen(task: TrainingTask, saves: CheckpointStore) -> tuple[MonitoringReport, ...]:
    """The looks of this training, those of runs that were interrupted too."""
    if not monitoring.is_enabled(task.train.monitor, task.holdout):
        return ()
    return monitoring.earlier(_looks(saves), task.train.snapshots)


def _memory_mb(accelerator: Accelerator) -> Callable[[], float]:
    """Gives the most memory that was in use so far: of the GPU, or of this process."""
    if accelerator.device.type == "cuda":
        import torch

        return lambda: torch.cuda.max_memory_allocated(accelerator.device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """SIGTERM and the first Ctrl-C are remembered for the end of the step, or of the picture that is being prepared.

    A second Ctrl-C stops at once.
    """
    told: list[int] = []

    def remember(number: int, _frame: object) -> None:
        if number == signal.SIGINT and told:
            raise KeyboardInterrupt
        told.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(told)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _accelerated(train: Train) -> Iterator[Accelerator]:
    """The hardware that the accelerate config names, or without one what there is; refused when it is not there."""
    import torch
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

    wanted, machine = hardware.launched(os.environ), _machine()
    hardware.check(wanted, machine, train.optimiser)
    share(train.batch_size, wanted.n_processes, wanted.n_parts, 0)
    handlers = [
        # Layers of SDXL's text encoders behind the one that is read learn nothing.
        DistributedDataParallelKwargs(find_unused_parameters=True),
        # The others wait while one fills the cache and draws; accelerate would give up after ten minutes.
        InitProcessGroupKwargs(timeout=timedelta(hours=WAIT_HOURS)),
    ]
    with _unsaid("ACCELERATE_USE_FSDP"):  # accelerate would cut one model only; training.shards cuts all that learn
        accelerator = Accelerator(cpu=wanted.on_cpu, kwargs_handlers=handlers)
    if accelerator.device.type == "cpu":
        # Launchers set one thread; the number decides how sums are split, so it must not depend on the launcher.
        torch.set_num_threads(max(1, machine.cores // wanted.n_here))
    else:
        torch.set_float32_matmul_precision("high")  # TF32: what is in full precision is several times as fast
    try:
        yield accelerator
    finally:
        accelerator.end_training()


@contextmanager
def _unsaid(name: str) -> Iterator[None]:
    """The environment without a variable, while it is open."""
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value


def _machine() -> hardware.Machine:
    import torch

    n_gpus = torch.cuda.device_count()
    bf16 = bool(n_gpus) and torch.cuda.get_device_capability()[0] >= 8
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # not on macOS
    return hardware.Machine(n_gpus, bf16, cores)


def _link(source: str, target: str) -> None:
    """A second name for a file instead of a copy: the first one is removed when the export is complete."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _csv(history: list[list[float]]) -> str:
    rows = [",".join([str(step), *(f"{value:.6g}" for value in row)]) for step, row in enumerate(history, start=1)]
    return "\n".join([",".join(["step", *COLUMNS]), *rows]) + "\n"


def _card(task: TrainingTask, params: Params, paths: Paths) -> dict[str, Any]:
    name = params.species[paths.species].name
    return {
        "stage": "train",
        **task.stamp,
        "name": name,
        "base": params.base.path,
        "steps": params.train.steps,
        "params": {"seed": params.seed, **params.train.model_dump(mode="json")},
        "snapshots": [{"step": step, "path": f"step-{step:06d}"} for step in params.train.snapshots],
    }


def _report(
    task: TrainingTask,
    params: Params,
    paths: Paths,
    history: list[list[float]],
    seen: Sequence[MonitoringReport],
    spent: StepTimer,
) -> Report:
    last = history[-max(1, len(history) // 10) :]
    loss = sum(row[0] for row in last) / len(last)
    snapshots = ", ".join(map(str, params.train.snapshots))
    told = ", ".join(filter(None, [f"loss {loss:.4f} over the last tenth", monitoring_files.words(seen)]))
    line = (
        f"train {paths.species}: {params.train.steps} steps ({params.train.method}) on {len(task.pictures)} pictures, "
        f"{told}; snapshots {snapshots} in {paths.model.relative_to(paths.root)}"
    )
    return Report(
        "train", (line, *training_console.time_table(spent.seconds)), {"loss": loss, "steps": params.train.steps}
    )
