"""The served model: a registered version as MLflow loads it. Prompts and seeds in, PNG bytes out, the same each time.

    model = mlflow.pyfunc.load_model("models:/sinomacrops@champion")
    model.predict({"prompt": ["{name} at sea", "a bird"], "seed": [1, 2]}, params={"steps": 30})

Before a version has reached the floor of a first champion (`register.min_primary`), `@challenger` is the newest one.

A version stores weights and three lines that import this class, so its name and place must not change: what draws is
the installed code, the same as that of `paleo sample` and `paleo generate`. An adapter over a large base model, which
is not stored, needs the base's folder: `load_model(…, model_config={"base": FOLDER})` or the environment variable
PALEO_BASE_MODEL. What a request may ask for, and how much, is in `request`.
"""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from mlflow.pyfunc.model import PythonModel, PythonModelContext  # it reads the type hints of predict, and warns without

from pipeline.core.records import SampleSpec
from pipeline.registry.model_config import current_names
from pipeline.served_model.request import sample_specs, under_known_names


class ServedModel(PythonModel):
    """One checkpoint of one species."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights; InputError when the base model below an adapter is not found."""
        from pipeline.families.model_components import from_pure_noise
        from pipeline.io.tracking.registered_models import base_folder
        from pipeline.methods.resolution import load
        from pipeline.sampling.device import best_device
        from pipeline.sampling.png_metadata import Provenance

        config, folder = context.model_config, Path(context.artifacts["checkpoint"])
        base = base_folder(context.artifacts.get("base"), config, Path.cwd())
        parts = load(config["method"], config["family"], folder, base, *best_device())
        self._parts = from_pure_noise(parts, config.get("zero_terminal_snr", False))
        self._words = {name: config[name] for name in ("name", "class_noun")}
        self._spec = SampleSpec(prompt="", seed=0, **current_names(config["sample"]))
        self._batch_size = config["batch_size"]
        self._origin = Provenance(**config["origin"], scheduler_config=self._parts.scheduler)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[bytes]:
        """One PNG a row; InputError for a request that `sample_specs` refuses."""
        from pipeline.sampling.generate import generate_images
        from pipeline.sampling.png_metadata import encode_png

        specs = sample_specs(model_input, params, self._spec, self._words)
        batches = [specs[start : start + self._batch_size] for start in range(0, len(specs), self._batch_size)]
        return [
            encode_png(image, spec, self._origin)
            for batch in batches
            for image, spec in zip(generate_images(self._parts, batch), batch, strict=True)
        ]


def _refuse_unknown_params() -> None:
    """Let the served model refuse the params that it does not have.

    `PyFuncModel.predict` drops params that are not in the model's signature with a warning, before the model sees
    them, and MLflow has no setting for it: a misspelt `guidance_scale` would draw other pictures than were asked for.
    """
    predict = PyFuncModel.predict

    @wraps(predict)
    def strict(self: PyFuncModel, data: Any, params: dict[str, Any] | None = None) -> Any:
        schema = self.metadata.get_params_schema()
        if schema is not None and isinstance(params, dict) and _is_served_model(self):
            params = under_known_names(params, [spec.name for spec in schema.params])
        return predict(self, data, params)

    PyFuncModel.predict = strict


def _is_served_model(model: PyFuncModel) -> bool:
    try:
        return isinstance(model.unwrap_python_model(), ServedModel)
    except MlflowException:  # a model of another kind
        return False


_refuse_unknown_params()
