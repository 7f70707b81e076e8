"""Render the drawings once, with all cores, into blocks on disk that a restart reuses."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pipeline.pretraining.clip import preprocessing
from pipeline.pretraining.drawings import Description, DrawingSet
from pipeline.pretraining.optimisation import OnProgress
from pipeline.pretraining.settings import DrawingSettings
from pipeline.vision.clip import resize_and_crop

BLOCK_SIZE = 250  # drawings per file: what a kill can lose
PROCESSES = 2

Draw = Callable[[int, int, int], tuple[Image.Image, Description]]  # (seed, index, size_px)


def render_drawings(
    draw: Draw, settings: DrawingSettings, folder: Path, on_progress: OnProgress
) -> tuple[DrawingSet, DrawingSet]:
    """The drawings to train on, and the held-out ones, which come after them in the world's sequence."""
    folder.mkdir(parents=True, exist_ok=True)
    total = settings.count + settings.held_out
    starts = range(0, total, BLOCK_SIZE)
    missing = [start for start in starts if not block_file(folder, start).is_file()]
    task = partial(render_block, draw, settings, folder)
    for done, _ in enumerate(_map(task, missing), start=len(starts) - len(missing) + 1):
        on_progress("drawings", min(done * BLOCK_SIZE, total), total, {})
    drawings = concatenate([read_block(block_file(folder, start)) for start in starts])
    return drawings[: settings.count], drawings[settings.count :]


def render_block(draw: Draw, settings: DrawingSettings, folder: Path, start: int) -> None:
    """Render one block and write its file, complete or absent."""
    torch.set_num_threads(1)
    stop = min(start + BLOCK_SIZE, settings.count + settings.held_out)
    drawings = [draw(settings.seed, index, settings.drawn_px) for index in range(start, stop)]
    words = [asdict(description) for _, description in drawings]
    squares = np.stack([shrink(image, settings.image_px) for image, _ in drawings])
    partial_file = block_file(folder, start).with_suffix(".partial")
    with partial_file.open("wb") as stream:
        np.savez(stream, squares=squares, words=json.dumps(words))
    os.replace(partial_file, block_file(folder, start))


def shrink(image: Image.Image, image_px: int) -> np.ndarray:
    """A picture -> (px, px, 3) uint8, by CLIP's own preprocessing."""
    pixels = resize_and_crop(image, preprocessing(image_px))
    shrunk: np.ndarray = (pixels.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return shrunk


def read_block(file: Path) -> DrawingSet:
    with np.load(file, allow_pickle=False) as block:
        records = json.loads(str(block["words"]))
        descriptions = tuple(Description(**each | {"parts": tuple(each["parts"])}) for each in records)
        return DrawingSet(block["squares"], descriptions)


def concatenate(sets: list[DrawingSet]) -> DrawingSet:
    return DrawingSet(
        np.concatenate([each.images for each in sets]), tuple(one for each in sets for one in each.descriptions)
    )


def block_file(folder: Path, start: int) -> Path:
    return folder / f"block-{start:06d}.npz"


def _map(task: Callable[[int], None], starts: list[int]) -> Iterator[None]:
    if len(starts) <= 2:  # starting processes would take longer
        yield from map(task, starts)
        return
    # Forking a process whose torch threads have run can hang the child.
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(task, starts)
