"""Looks at made-up pictures, and a task whose CLIP is a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.core import params as params_module
from pipeline.core.lineage import digest_bytes
from pipeline.curation.looks import Look, Task
from pipeline.curation.measuring import look_at

PARAMS = params_module.load(Path(__file__).parents[2] / "params.yaml").curate
CLASSES = {"alive": ["a painting"], "bones": ["bones on rock", "a fossil"]}


def look(name: str, image: Image.Image, trusted: bool = False) -> Look:
    return look_at(digest_bytes(name.encode()), name, image, image, trusted)


def all_of(looks: list[Look]) -> frozenset[str]:
    return frozenset(look.sha256 for look in looks)


def task(image_rows: np.ndarray | None = None, **changed) -> Task:
    """`image_rows` (n, 2) are what the pictures are embedded as; the classes lie on the two axes."""

    def embed_images(pictures):
        assert image_rows is not None, "nothing should have been asked"
        assert len(pictures) == len(image_rows)
        return image_rows

    def embed_texts(sentences):
        return np.array([[1.0, 0.0] if sentence == "a painting" else [0.0, 1.0] for sentence in sentences])

    changed = {"keep_classes": ("alive",), **changed}
    return Task(PARAMS.model_copy(update=changed), CLASSES, embed_images, embed_texts)
