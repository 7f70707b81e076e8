"""The MLflow registry: one registered model per species, one version per lineage and step.

Registering has many steps and a crash may come between any two of them. So each looks for what an earlier attempt left,
and the version, which is what others look for, comes last and is complete when it appears.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from ruamel.yaml import YAML

from pipeline.core.errors import InputError
from pipeline.io.files.atomic_write import fresh_folder
from pipeline.io.files.model_folders import weights_digest
from pipeline.io.tracking.mlflow_runs import METRICS_PER_BATCH
from pipeline.io.tracking.mlflow_store import connect, experiment, local_path, speaking_to

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric, Run
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
MODEL_TYPE = "text-to-image"
OF_TRAINING = ("git_commit", "git_dirty", "dvc_experiment", "prefect_flow_run_id", "mlflow.source.git.commit")
CHOSEN = "chosen."  # prefix of the chosen step's metrics: the plain names are series over the steps


@dataclass(frozen=True)
class ModelVersion:
    """A registered version; tags have everything that is known about it."""

    species: str
    number: int
    tags: Mapping[str, str]
    source: str
    aliases: tuple[str, ...] = ()

    @property
    def alias(self) -> str:
        """The one that says most, or nothing."""
        return next((alias for alias in (CHAMPION, CHALLENGER) if alias in self.aliases), "")

    def __str__(self) -> str:
        return f"version {self.number}" + (f" ({self.alias})" if self.alias else "")


@dataclass(frozen=True)
class Release:
    """A chosen checkpoint with all that is to be registered with it."""

    species: str
    lineage_id: str
    step: int
    weights: Mapping[str, Path]  # checkpoint, and base or credits where they travel along
    code: str  # Python that ends in mlflow.models.set_model
    config: Mapping[str, Any]  # what that code needs to know
    tags: Mapping[str, str]
    params: Mapping[str, str]
    scores: Mapping[int, Mapping[str, float]]  # by step; 0 is the base model
    losses: pd.DataFrame  # train.csv
    attachments: Mapping[str, Path]  # folder in the run -> file or folder
    dataset: Mapping[str, str]  # name, digest and where it lies
    description: str

    @property
    def identity(self) -> dict[str, str]:
        """The tags that make two releases the same one."""
        return {"lineage_id": self.lineage_id, "step": str(self.step)}


@dataclass(frozen=True)
class ChampionModel:
    """The champion's files on this machine."""

    species: str
    version: int
    folder: Path  # the checkpoint
    method: str
    family: str
    base_folder: Path | None  # what the checkpoint is laid over; None where it is complete
    config: Mapping[str, Any]
    tags: Mapping[str, str]


def versions(client: MlflowClient, species: str) -> list[ModelVersion]:
    """All versions of a species, oldest first."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(species).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return []
    names: dict[int, list[str]] = {}
    for alias, number in sorted(aliases.items()):
        names.setdefault(int(number), []).append(alias)
    found = client.search_model_versions(f"name = '{species}'", max_results=1000)
    unsorted = (_version(each, names.get(int(each.version), [])) for each in found)
    return sorted(unsorted, key=lambda version: version.number)


def with_alias(known: list[ModelVersion], alias: str) -> ModelVersion | None:
    return next((version for version in known if alias in version.aliases), None)


def same(known: list[ModelVersion], identity: Mapping[str, str]) -> ModelVersion | None:
    """The version that has all of these tags."""
    return next((v for v in reversed(known) if identity.items() <= v.tags.items()), None)


def add(client: MlflowClient, root: Path, release: Release) -> None:
    """Log the model and what belongs to it, then make the version.

    Raises
    ------
    ServiceError
        When the store stops answering; repeating goes on where it stopped.
    """
    with speaking_to(client.tracking_uri):
        experiment_id = experiment(client, root, release.species)
        run = _run(client, experiment_id, release)
        _log_dataset(client, run, release)
        for folder, path in release.attachments.items():
            (client.log_artifacts if path.is_dir() else client.log_artifact)(run.info.run_id, str(path), folder)
        model = _logged_model(client, experiment_id, run, release)
        _log_scores(client, run, model, release)
        _make_version(client, run, model, release)


def champion(root: Path, species: str) -> ChampionModel:
    """The champion's files, fetched once if they lie on a server.

    Raises
    ------
    InputError
        When there is no champion, or its files are gone.
    ServiceError
        When the registry does not answer.
    """
    client = connect(root)
    with speaking_to(client.tracking_uri):
        found = with_alias(versions(client, species), CHAMPION)
        if found is None:
            raise InputError(f"{species} has no champion yet; run `paleo run {species}` first")
        return _open(found, _files(client, root, found), root)


def base_folder(stored: str | Path | None, config: Mapping[str, Any], root: Path) -> Path | None:
    """The base model below an adapter: stored with it, or the one of the same bytes on this machine.

    Raises
    ------
    InputError
        When the base was registered by reference and is not there, or is another one.
    """
    if stored or not config["needs_base"]:
        return Path(stored) if stored else None
    folder = root / config["base"]
    if not folder.is_dir():
        raise InputError(f"this model needs its base model {config['base']!r}, which is not in {root}; download it")
    if weights_digest(folder) != config["base_digest"]:
        raise InputError(f"{folder} is not the base model that this model was trained on (other weights)")
    return folder


def _version(found: ModelVersion, aliases: list[str]) -> ModelVersion:
    return ModelVersion(found.name, int(found.version), dict(found.tags), found.source, tuple(aliases))


def _run(client: MlflowClient, experiment_id: str, release: Release) -> Run:
    """The training's own run; written from train.csv where the training was made elsewhere."""
    query = f"tags.lineage_id = '{release.lineage_id}'"
    found = client.search_runs([experiment_id], query, max_results=1, order_by=["attributes.start_time DESC"])
    run = found[0] if found else _retold_run(client, experiment_id, release)
    if run.info.status != "FINISHED":  # its process was killed after the model was complete
        client.set_terminated(run.info.run_id, "FINISHED")
    return run


def _retold_run(client: MlflowClient, experiment_id: str, release: Release) -> Run:
    from mlflow.entities import Metric, Param

    tags = {**release.tags, "stage": "train", "retold_from": "train.csv"}
    run = client.create_run(experiment_id, tags=tags, run_name=f"{release.config['method']} {release.lineage_id[:8]}")
    client.log_batch(run.info.run_id, params=[Param(key, value) for key, value in release.params.items()])
    names = [name for name in release.losses.columns if name != "step"]
    rows = release.losses.to_dict("records")
    _send(client, run, [Metric(n, row[n], run.info.start_time, int(row["step"])) for row in rows for n in names])
    return run


def _log_dataset(client: MlflowClient, run: Run, release: Release) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = release.dataset
    source = json.dumps({key: value for key, value in data.items() if key not in ("name", "digest")})
    # MLflow takes no digest longer than 36.
    dataset = Dataset(name=data["name"], digest=data["digest"][:36], source_type="dvc", source=source)
    client.log_inputs(run.info.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _logged_model(client: MlflowClient, experiment_id: str, run: Run, release: Release) -> LoggedModel:
    """The model with its files; what an interrupted attempt left unfinished is dropped."""
    query = " AND ".join(f"tags.{key} = '{value}'" for key, value in release.identity.items())
    for model in client.search_logged_models([experiment_id], filter_string=query):
        if str(model.status) == "READY":
            return model
        client.delete_logged_model(model.model_id)
    model = client.create_logged_model(
        experiment_id, f"{release.species}-{release.step}", run.info.run_id, _tags(run, release), None, MODEL_TYPE
    )
    with tempfile.TemporaryDirectory(prefix="paleo-") as scratch:
        _save(Path(scratch), model, run, release)
        client.log_model_artifacts(model.model_id, f"{scratch}/model")
    return client.finalize_logged_model(model.model_id, "READY")


def _save(scratch: Path, model: LoggedModel, run: Run, release: Release) -> None:
    """An MLflow model folder whose code is stored as text: nothing is pickled."""
    import mlflow.pyfunc
    from mlflow.models import Model

    (scratch / "model.py").write_text(release.code, encoding="utf-8")
    described = Model(model.artifact_location, run.info.run_id, model_uuid=model.model_id, model_id=model.model_id)
    mlflow.pyfunc.save_model(
        path=scratch / "model",
        mlflow_model=described,
        python_model=str(scratch / "model.py"),
        artifacts={name: str(path) for name, path in release.weights.items()},
        model_config=dict(release.config),
        signature=signature(release.config["sample"]),
        input_example={"prompt": [release.config["name"]], "seed": [1]},
        pip_requirements=_requirements(),
    )


def signature(sample: Mapping[str, Any]):
    """One prompt a row, each with its own seed if wanted; how to draw is the same for all rows."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    kinds = {"seed": "long", "steps": "long", "guidance_scale": "double", "sampler": "string"}
    return ModelSignature(
        inputs=Schema([ColSpec("string", "prompt"), ColSpec("long", "seed", required=False)]),
        outputs=Schema([ColSpec("binary")]),
        params=ParamSchema([ParamSpec(key, kind, {"seed": 1, **sample}[key]) for key, kind in kinds.items()]),
    )


def _requirements() -> list[str]:
    """The packages that draw, as installed here; a local build's mark (torch's `+cpu`) is no version elsewhere."""
    from importlib.metadata import version

    names = ("paleoforge", "mlflow", "torch", "diffusers", "transformers", "peft", "safetensors", "numpy", "pillow")
    return [f"{name}=={version(name).partition('+')[0]}" for name in names]


def _log_scores(client: MlflowClient, run: Run, model: LoggedModel, release: Release) -> None:
    """Series over the steps in the run; the chosen step's in the model too. The run's own time: again, no new point."""
    from mlflow.entities import LoggedModelOutput, Metric

    now = run.info.start_time
    series = [Metric(name, value, now, step) for step, by in release.scores.items() for name, value in by.items()]
    chosen = release.scores[release.step].items()
    data = {"dataset_name": release.dataset["name"], "dataset_digest": release.dataset["digest"][:36]}
    of_model = [
        Metric(CHOSEN + name, value, now, release.step, model_id=model.model_id, run_id=run.info.run_id, **data)
        for name, value in chosen
    ]
    _send(client, run, [*series, *of_model])
    outputs = client.get_run(run.info.run_id).outputs
    if model.model_id not in [output.model_id for output in outputs.model_outputs]:  # twice is an error to MLflow
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=release.step)])


def _make_version(client: MlflowClient, run: Run, model: LoggedModel, release: Release) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(release.species, description=release.config["name"])
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    client.create_model_version(
        release.species,
        model.artifact_location,
        run.info.run_id,
        _tags(run, release),
        None,
        release.description,
        model_id=model.model_id,
    )


def _tags(run: Run, release: Release) -> dict[str, str]:
    """With the code and the surroundings of the training, which may be older than what registers."""
    return {**release.tags, **{key: value for key, value in run.data.tags.items() if key in OF_TRAINING}}


def _send(client: MlflowClient, run: Run, metrics: list[Metric]) -> None:
    for start in range(0, len(metrics), METRICS_PER_BATCH):
        client.log_batch(run.info.run_id, metrics=metrics[start : start + METRICS_PER_BATCH])


def _files(client: MlflowClient, root: Path, version: ModelVersion) -> Path:
    """The version's MLflow model folder on this machine."""
    here = local_path(version.source)
    if here is not None and not here.is_dir():
        raise InputError(
            f"the files of {version.species} version {version.number} are not in {here}; put them back, or remove "
            f"the version in MLflow and run `paleo register {version.species}`"
        )
    return here or _fetched(client, root, version)


def _fetched(client: MlflowClient, root: Path, version: ModelVersion) -> Path:
    from mlflow.artifacts import download_artifacts

    kept = root / ".work/registry" / f"{version.species}-{version.tags['lineage_id']}-{version.tags['step']}"
    if not kept.is_dir():
        with fresh_folder(kept) as building:
            download_artifacts(artifact_uri=version.source, dst_path=str(building), tracking_uri=client.tracking_uri)
    return next(kept.rglob("MLmodel")).parent


def _open(version: ModelVersion, folder: Path, root: Path) -> ChampionModel:
    described = YAML(typ="safe").load((folder / "MLmodel").read_text(encoding="utf-8"))["flavors"]["python_function"]
    stored = {name: folder / entry["path"] for name, entry in described["artifacts"].items()}
    config = described["config"]
    return ChampionModel(
        version.species,
        version.number,
        stored["checkpoint"],
        config["method"],
        config["family"],
        base_folder(stored.get("base"), config, root),
        config,
        version.tags,
    )
