"""Fine-tuning methods by name. A method is one file here and one line in `METHODS`; see `method.Method`."""

from __future__ import annotations

from functools import cache

from pipeline.core import registry
from pipeline.methods.method import Method

METHODS: dict[str, str] = {
    "dreambooth": "pipeline.methods.dreambooth:Dreambooth",
    "lora": "pipeline.methods.lora:Lora",
    "lokr": "pipeline.methods.lokr:Lokr",
    "loha": "pipeline.methods.loha:Loha",
    "textual_inversion": "pipeline.methods.textual_inversion:TextualInversion",
    "pivotal": "pipeline.methods.pivotal:Pivotal",
    "full": "pipeline.methods.full:Full",
}


def method(name: str) -> Method:
    """The method of this name; ParamsError names the nearest known one."""
    return _made(registry.lookup("train.method", name, METHODS))


@cache
def _made(entry: str) -> Method:
    made: Method = registry.load(entry)()
    return made
