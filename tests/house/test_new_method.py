"""A fine-tuning method is one new file and one line: it trains, samples, and makes no other model stale."""

from __future__ import annotations

import pytest

from pipeline.core.errors import ParamsError
from pipeline.families import family
from pipeline.methods import METHODS, method
from pipeline.methods.method import Method
from pipeline.methods.resolution import resolved_params
from pipeline.methods.usage import usage
from tests import tiny_models
from tests.house.added_plugin import add_plugin, cache_keys, ready_project, train_and_sample
from tests.project import edit_params
from tests.training.world import train_params

FILE, TABLE = "pipeline/methods/bitfit.py", "pipeline/methods/__init__.py"
LINE = '"bitfit": "pipeline.methods.bitfit:BitFit",'
SOURCE = '''"""BitFit (Ben Zaken et al. 2022): only the biases of the denoiser are trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import InputError, ParamsError
from pipeline.core.param_types import Section
from pipeline.core.params import section
from pipeline.core.records import Subject
from pipeline.core.training_params import Train
from pipeline.families.family import Capability, Family
from pipeline.methods.method import Artefact, Format, Method

if TYPE_CHECKING:
    import torch

    from pipeline.families.model_components import ModelComponents
    from pipeline.methods.adapters import Adapters
    from pipeline.methods.trainable import Trainable

WEIGHTS = "biases.safetensors"


class BitFitParams(Section):
    """Biases of the denoiser."""

    layers: str = ""
    """Only those whose name has this in it."""


class BitFit:
    name = "bitfit"
    Params = BitFitParams
    sections: Mapping[str, type[Section]] = {"bitfit": BitFitParams}
    needs: frozenset[Capability] = frozenset({"unet"})
    preserves_base = False
    saves_full_model = False
    formats: Mapping[Format, tuple[Artefact, ...]] = {"single-file": ("checkpoint",)}
    kohya_network: tuple[str, Mapping[str, str]] = ("", {})

    def trains_text_encoder(self, train: Train) -> bool:
        return False

    def check(self, family: Family, base: Path, train: Train) -> None:
        layers = section(train, "bitfit", BitFitParams).layers
        names = [name for name, _ in family.empty(base, "unet").named_parameters() if name.endswith("bias")]
        if not any(layers in name for name in names):
            raise ParamsError(f"train.bitfit.layers is {layers!r}, which is in the name of no bias")

    def attach(
        self, components: ModelComponents, train: Train, subject: Subject, seed: int, frozen_dtype: torch.dtype
    ) -> Trainable:
        from pipeline.methods.trainable import Trainable

        layers = section(train, "bitfit", BitFitParams).layers
        for name, weight in components.unet.named_parameters():
            weight.requires_grad_(name.endswith("bias") and layers in name)
        return Trainable(components, {"unet": components.unet})

    def save(self, trainable: Trainable, folder: Path, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
        from pipeline.methods.tensor_files import write_tensors

        write_tensors(folder / WEIGHTS, {name: w.to(dtype) for name, w in trainable.parameters.items()}, metadata)

    def restore(self, components: ModelComponents, folder: Path) -> ModelComponents:
        from pipeline.methods import base_compatibility

        base_compatibility.check(folder / WEIGHTS, components)
        _, biases = base_compatibility.read(folder / WEIGHTS, tensors=True)
        weights = dict(components.unet.named_parameters())
        for name, bias in biases.items():
            weights[name.removeprefix("unet.")].data.copy_(bias)
        return components

    def adapters(self, folder: Path) -> Adapters:
        raise InputError(f"{folder} has biases and no adapters")

    def trigger(self, subject: Subject) -> str:
        return subject.name

    def placeholder_tokens(self, train: Train, subject: Subject) -> dict[str, str]:
        return {}

    def load_snippet(self, family: Family | None, card: Mapping[str, Any], path: str) -> list[str]:
        return [
            "from safetensors.torch import load_file",
            f'biases = load_file("{path}/{WEIGHTS}")',
            'pipe.unet.load_state_dict({key[5:]: bias for key, bias in biases.items()}, strict=False)',
        ]


_: type[Method] = BitFit
'''


def test_a_method_is_one_file_and_one_line(tmp_path, empty_store):
    paths = ready_project(tmp_path / "project", empty_store)
    before = cache_keys(paths.root)
    add_plugin(paths.root, FILE, SOURCE, TABLE, LINE)
    assert cache_keys(paths.root) == before, "models of other methods stay up to date"

    edit_params(paths.root, {"train": {"method": "bitfit", "bitfit": {"layers": "conv"}}})
    card = train_and_sample(paths)
    assert card["method"] == "bitfit" and card["params"]["bitfit"] == {"layers": "conv"}
    assert (paths.model / "step-000002" / "biases.safetensors").is_file()


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """The same plugin in this process."""
    (tmp_path / "added_bitfit.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(METHODS, "bitfit", "added_bitfit:BitFit")
    return method("bitfit")


def test_a_method_owns_its_params_checks_and_load_snippet(registered, tmp_path):
    base = tiny_models.write_sd(tmp_path / "base")
    with pytest.raises(ParamsError, match="unknown key 'train.bitfit.layer'; did you mean 'layers'?"):
        train_params(method="bitfit", bitfit={"layer": "conv"})
    with pytest.raises(ParamsError, match="train.method is 'bitfi', which is not known; did you mean 'bitfit'?"):
        method("bitfi")
    registered.check(family("sd"), base, train_params(method="bitfit"))
    with pytest.raises(ParamsError, match="train.bitfit.layers is 'none', which is in the name of no bias"):
        registered.check(family("sd"), base, train_params(method="bitfit", bitfit={"layers": "none"}))
    card = {"family": "sd", "method": "bitfit", "base": "base", "trigger": "dodo"}
    assert "pipe.unet.load_state_dict(" in usage(card, "models/dodo/step-000002")
    assert resolved_params(registered, train_params(method="bitfit"), exclude=set())["bitfit"] == {"layers": ""}


def test_every_method_has_all_members_of_the_contract():
    members = [name for name in vars(Method) if not name.startswith("_")]
    for name in METHODS:
        lacking = [member for member in members if not hasattr(method(name), member)]
        assert not lacking and method(name).name == name and next(iter(method(name).sections)) == name
        assert method(name).sections[name] is type(method(name)).Params
        assert METHODS[name].startswith(f"pipeline.methods.{name}:"), "dvc.yaml finds the file by the method's name"
