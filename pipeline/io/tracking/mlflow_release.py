"""Registering a release in MLflow: the run with its scores, the logged model with its files, then the version.

Registering has many steps and a crash may come between any two of them. So each looks up what an earlier attempt left,
and the version, which is what others search for, comes last and is complete when it appears.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from pipeline.core.releases import CHALLENGER, CHAMPION, ModelVersion, Release, ReleaseLinks
from pipeline.io.tracking import mlflow_tags
from pipeline.io.tracking.mlflow_store import experiment, mlflow_errors
from pipeline.io.tracking.mlflow_tracker import METRICS_PER_BATCH, log_params, logged_images
from pipeline.io.tracking.tracker import RunDescription

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric, Run
    from mlflow.models import ModelSignature

Pages = Mapping[str, str]  # label -> address
GALLERY = "gallery"  # folder of the run with a page that holds its pictures
PREVIEW = "preview"  # folder of the run with the pictures of model cards
MODEL_TYPE = "text-to-image"
TAGS_OF_TRAINING = ("git_commit", "git_dirty", "dvc_experiment", "prefect_flow_run_id", "prefect_flow_run_name")
BY_STEP = "scores/"  # prefix of the series over the steps: the plain names are those of the chosen step
# Key of the pictures, which have a slider over the steps. MLflow sorts by the word before the slash: pictures first.
CONTACT_SHEET = "checkpoints/contact sheet"
NOTE = "mlflow.note.content"  # the tag that MLflow shows as a run's description
DIGEST_CHARACTERS = 36  # MLflow accepts no longer digest of a data set
PACKAGES = ("paleoforge", "mlflow", "torch", "diffusers", "transformers", "peft", "safetensors", "numpy", "pillow")


def add_version(client: MlflowClient, root: Path, release: Release) -> None:
    """Log the model and what belongs to it, then create the version.

    Raises
    ------
    ServiceError
        When the store stops answering; repeating goes on where it stopped.
    """
    with mlflow_errors(client.tracking_uri):
        experiment_id = experiment(client, root, release.species)
        run = _run(client, experiment_id, release)
        _log_dataset(client, run, release)
        for folder, path in release.attachments.items():
            (client.log_artifacts if path.is_dir() else client.log_artifact)(run.info.run_id, str(path), folder)
        _log_contact_sheets(client, run, release)
        model = _logged_model(client, experiment_id, run, release)
        _log_scores(client, run, model, release)
        _create_version(client, run, model, release)


def _run(client: MlflowClient, experiment_id: str, release: Release) -> Run:
    """The training's own run; rebuilt from train.csv where the training was tracked elsewhere or not at all."""
    query = f"tags.lineage_id = '{release.lineage_id}'"
    found = client.search_runs([experiment_id], query, max_results=1, order_by=["attributes.start_time DESC"])
    run = found[0] if found else _rebuilt_run(client, experiment_id, release)
    if run.info.status != "FINISHED":  # its process was killed after the model was complete
        client.set_terminated(run.info.run_id, "FINISHED")
    return run


def _rebuilt_run(client: MlflowClient, experiment_id: str, release: Release) -> Run:
    from mlflow.entities import Metric

    name = f"{release.config['method']} {release.lineage_id[:8]}"
    known = {key: release.tags[key] for key in ("lineage_id", *TAGS_OF_TRAINING) if key in release.tags}
    tags = mlflow_tags.grouped({**known, "stage": "train", "species": release.species, "rebuilt_from": "train.csv"})
    run = client.create_run(experiment_id, tags=tags, run_name=name)
    log_params(client, run, RunDescription(release.species, name, tags, release.params, release.deciding))
    losses = [
        Metric(name, value, run.info.start_time, int(row["step"]))
        for row in release.losses
        for name, value in row.items()
        if name != "step"
    ]
    _log_metrics(client, run, losses)
    return run


def _log_contact_sheets(client: MlflowClient, run: Run, release: Release) -> None:
    """Those that the run does not have yet."""
    from PIL import Image

    logged = logged_images(client, run.info.run_id)
    for step, path in release.contact_sheets.items():
        if (CONTACT_SHEET, step) not in logged:
            with Image.open(path) as sheet:
                client.log_image(run.info.run_id, sheet, key=CONTACT_SHEET, step=step, synchronous=True)


def _log_dataset(client: MlflowClient, run: Run, release: Release) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    name, digest = release.dataset["name"], release.dataset["digest"][:DIGEST_CHARACTERS]
    source = json.dumps({key: value for key, value in release.dataset.items() if key not in ("name", "digest")})
    dataset = Dataset(name=name, digest=digest, source_type="dvc", source=source)
    client.log_inputs(run.info.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _logged_model(client: MlflowClient, experiment_id: str, run: Run, release: Release) -> LoggedModel:
    """The model with its files; what an interrupted attempt left unfinished is deleted."""
    query = " AND ".join(f"tags.{key} = '{value}'" for key, value in release.identity.items())
    for model in client.search_logged_models([experiment_id], filter_string=query):
        if str(model.status) == "READY":
            return model
        client.delete_logged_model(model.model_id)
    model = client.create_logged_model(
        experiment_id, f"{release.species}-{release.step}", run.info.run_id, _tags(run, release), None, MODEL_TYPE
    )
    with tempfile.TemporaryDirectory(prefix="paleo-") as scratch:
        _save_model(Path(scratch), model, run, release)
        client.log_model_artifacts(model.model_id, f"{scratch}/model")
    return client.finalize_logged_model(model.model_id, "READY")


def _save_model(scratch: Path, model: LoggedModel, run: Run, release: Release) -> None:
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


def signature(sample: Mapping[str, Any]) -> ModelSignature:
    """One prompt a row, each with its own seed if wanted; the sampler settings are the same for all rows."""
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

    return [f"{name}=={version(name).partition('+')[0]}" for name in PACKAGES]


def _log_scores(client: MlflowClient, run: Run, model: LoggedModel, release: Release) -> None:
    """The chosen step's scores in the run and the model, and series over the steps in the run.

    The series carry the run's own time and the others the model's: logged again, a point is the same point. Of the
    points with one step, MLflow shows the latest, so the plain names are those of the version that came last.
    """
    from mlflow.entities import LoggedModelOutput, Metric

    began, made = run.info.start_time, model.creation_timestamp
    series = [
        Metric(BY_STEP + name, value, began, step) for step, by in release.scores.items() for name, value in by.items()
    ]
    dataset = {"dataset_name": release.dataset["name"], "dataset_digest": release.dataset["digest"][:DIGEST_CHARACTERS]}
    of_model = [
        Metric(name, value, made, 0, model_id=model.model_id, run_id=run.info.run_id, **dataset)
        for name, value in release.scores[release.step].items()
    ]
    _log_metrics(client, run, [*series, *of_model])
    outputs = client.get_run(run.info.run_id).outputs
    logged = [output.model_id for output in outputs.model_outputs] if outputs else []
    if model.model_id not in logged:  # twice is an error to MLflow
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=release.step)])


def _create_version(client: MlflowClient, run: Run, model: LoggedModel, release: Release) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(release.species)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    client.create_model_version(
        release.species, model.artifact_location, run.info.run_id, _tags(run, release), None, model_id=model.model_id
    )


def _tags(run: Run, release: Release) -> dict[str, str]:
    """With the code and the surroundings of the training, which may be older than what registers."""
    of_run = {key: value for key, value in mlflow_tags.flat(run.data.tags).items() if key in TAGS_OF_TRAINING}
    others = {key: value for key, value in release.tags.items() if key not in TAGS_OF_TRAINING or not of_run}
    return mlflow_tags.grouped({**others, **of_run})


def describe(client: MlflowClient, version: ModelVersion, card: Callable[[ReleaseLinks], str], pages: Pages) -> None:
    """Write the model card of a version on its page, its run's and its model's; what is there already stays.

    `pages` are links to places outside MLflow, by what they show.
    """
    number, run = str(version.number), client.get_run(version.run_id)
    text = card(_links(client, version, run, pages))
    if client.get_model_version(version.species, number).description != text:
        client.update_model_version(version.species, number, text)
    if run.data.tags.get(NOTE) != text:
        client.set_tag(version.run_id, NOTE, text)
    newest = CHAMPION in version.aliases or CHALLENGER in version.aliases
    if newest and client.get_registered_model(version.species).description != text:
        client.update_registered_model(version.species, text)


def _links(client: MlflowClient, version: ModelVersion, run: Run, pages: Pages) -> ReleaseLinks:
    """Those into MLflow are relative to its own page, so they hold wherever it is served."""
    run_page = f"#/experiments/{run.info.experiment_id}/runs/{version.run_id}"
    inside = {
        f"version {version.number}": f"#/models/{quote(version.species)}/versions/{version.number}",
        "training": f"{run_page}?workflowType=machine_learning",
    }
    if client.list_artifacts(version.run_id, GALLERY):
        inside["pictures of every step"] = f"{run_page}/artifacts/{GALLERY}/index.html"
    preview = f"{PREVIEW}/{preview_name(int(version.tags['step']))}"
    there = [item.path for item in client.list_artifacts(version.run_id, PREVIEW)]
    picture = f"get-artifact?{urlencode({'path': preview, 'run_uuid': version.run_id})}" if preview in there else ""
    return ReleaseLinks(picture, {**inside, **pages})


def preview_name(step: int) -> str:
    """File name of the picture on a version's model card."""
    return f"step-{step:06d}.png"


def _log_metrics(client: MlflowClient, run: Run, metrics: Sequence[Metric]) -> None:
    for start in range(0, len(metrics), METRICS_PER_BATCH):
        client.log_batch(run.info.run_id, metrics=metrics[start : start + METRICS_PER_BATCH])
