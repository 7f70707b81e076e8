"""The served model: a registered version as MLflow loads it. Prompts and seeds in, PNG bytes out, the same each time.

    model = mlflow.pyfunc.load_model("models:/sinomacrops@champion")
    model.predict({"prompt": ["{name} at sea", "a bird"], "seed": [1, 2]}, params={"steps": 30})

Before a version has reached the floor of a first champion (`register.min_primary`), `@challenger` is the newest one.

A version stores weights and three lines that import this class, so its name and place must not change: what draws is
the installed code, the same as that of `paleo sample` and `paleo generate`. An adapter over a large base model, which
is not stored, needs the base's folder: `load_model(…, model_config={"base": FOLDER})` or the environment variable
PALEO_BASE_MODEL.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.pyfunc.model import PythonModel

from pipeline.core.errors import InputError
from pipeline.core.prompts import fill_prompt
from pipeline.core.records import SampleSpec
from pipeline.registry.model_config import current_names

if TYPE_CHECKING:
    from mlflow.pyfunc.model import PythonModelContext

LEAST = {"seed": 0, "steps": 1, "guidance_scale": 1}  # the smallest values that can be drawn with


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
        """One PNG a row; a row without seed takes `params["seed"]` plus its place, as `paleo generate -n` does."""
        from pipeline.sampling.generate import generate_images
        from pipeline.sampling.png_metadata import encode_png

        settings = current_names(params or {})
        first_seed = int(settings.pop("seed", 1))
        common = replace(self._spec, **settings)
        specs = [self._row_spec(common, *row, first_seed + n) for n, row in enumerate(rows(model_input))]
        batches = [specs[start : start + self._batch_size] for start in range(0, len(specs), self._batch_size)]
        return [
            encode_png(image, spec, self._origin)
            for batch in batches
            for image, spec in zip(generate_images(self._parts, batch), batch, strict=True)
        ]

    def _row_spec(self, common: SampleSpec, prompt: str, seed: int | None, default_seed: int) -> SampleSpec:
        """One row's spec, checked; a sampler's name is checked where it is looked up."""
        try:
            filled = fill_prompt(prompt, **self._words)
        except ValueError as error:
            raise InputError(str(error)) from None
        spec = replace(common, prompt=filled, seed=default_seed if seed is None else seed)
        for name, least in LEAST.items():
            if not getattr(spec, name) >= least:
                raise InputError(f"{name} is {getattr(spec, name)}; it must be {least} or more")
        return spec


def rows(frame: pd.DataFrame) -> Iterator[tuple[str, int | None]]:
    """Prompt and seed of each row; MLflow makes one row with lists of {"prompt": [a, b]}, which is taken apart."""
    lists = [name for name in ("prompt", "seed") if name in frame and frame[name].map(pd.api.types.is_list_like).any()]
    frame = frame.explode(lists) if lists else frame
    seeds = frame["seed"] if "seed" in frame else [None] * len(frame)
    for prompt, seed in zip(frame["prompt"], seeds, strict=True):
        if not isinstance(prompt, str):
            raise InputError("every row needs a prompt, which is text")
        yield prompt, None if pd.isna(seed) else int(seed)
