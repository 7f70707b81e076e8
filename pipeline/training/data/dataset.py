"""The training data set: pictures become latents in aspect-ratio buckets, with captions, masks and prior examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from math import ceil

import torch

from pipeline.core.training_params import Train
from pipeline.families.model_components import ModelComponents
from pipeline.training.data import latent_cache
from pipeline.training.data.batches import Bucket, EncodedDataset
from pipeline.training.data.buckets import Crop, Shape, bucket_shapes, centre_crop, nearest_shape
from pipeline.training.data.latent_cache import (
    ENCODING_PICTURES,
    GENERATING_PRIOR,
    LatentCache,
    OnProgress,
    TrainingImage,
)
from pipeline.training.data.masks import mask_weights

MAX_BYTES_ON_DEVICE = 2 << 30  # of latents; more stay in the computer's own memory


@dataclass(frozen=True)
class EncodingContext:
    """What encoding needs: the base, the cache, the seed and precision of prior pictures, a progress callback."""

    components: ModelComponents
    cache: LatentCache
    seed: int
    autocast: Callable[[], AbstractContextManager[None]] = nullcontext
    on_progress: OnProgress = lambda what, done, total: None


@dataclass(frozen=True)
class Prior:
    """What stands for the class: its prompt and so many pictures, or with `images` 0 the frozen base as teacher."""

    prompt: str
    images: int


def encode_dataset(
    train: Train, pictures: Sequence[TrainingImage], prior: Prior | None, context: EncodingContext
) -> EncodedDataset:
    """Every picture and prior picture as latents, by shape."""
    sentences = _all_sentences(pictures, prior)
    row_of = {sentence: row for row, sentence in enumerate(sentences)}
    by_shape = by_nearest_shape(shapes_of(train), pictures)
    n_prior = {shape: ceil(prior.images * len(its) / len(pictures)) if prior else 0 for shape, its in by_shape.items()}
    totals = {ENCODING_PICTURES: len(pictures), GENERATING_PRIOR: sum(n_prior.values())}
    context = replace(context, on_progress=summed_progress(context.on_progress, totals))
    sides, background_weight = 1 + train.horizontal_flip, train.masks.background_weight
    buckets = []
    for shape, its in by_shape.items():
        bucket = _bucket(shape, its, row_of, sides, background_weight, context)
        if prior:
            bucket = _with_prior(bucket, shape, replace(prior, images=n_prior[shape]), row_of, context)
        buckets.append(bucket)
    device = context.components.device
    return EncodedDataset(tuple(_placed(buckets, device)), sentences, device)


def summed_progress(on_progress: OnProgress, totals: Mapping[str, int]) -> OnProgress:
    """What is reported bucket by bucket, as one count over all buckets; `totals` by what is reported."""
    finished: Counter[str] = Counter()

    def on_bucket_progress(what: str, done: int, of_shape: int) -> None:
        on_progress(what, finished[what] + done, totals[what])
        if done == of_shape:
            finished[what] += of_shape

    return on_bucket_progress


def encode_held_out(
    shapes: Sequence[Shape], pictures: Sequence[TrainingImage], context: EncodingContext
) -> list[torch.Tensor]:
    """Latents (c, h, w) of pictures that are not trained on, in memory, each in its own shape."""
    shape_of = {id(picture): shape for shape, its in by_nearest_shape(shapes, pictures).items() for picture in its}
    found: list[torch.Tensor] = []
    for picture in pictures:
        shape = shape_of[id(picture)]
        found.append(latent_cache.picture_latents(context.cache, context.components, [picture], shape)[0, 0])
        context.on_progress("encoding held-out pictures", len(found), len(pictures))
    return found


def shapes_of(train: Train) -> list[Shape]:
    """The shapes that pictures may have in a training with these params."""
    return bucket_shapes(train.resolution_px, train.buckets.max_aspect, train.buckets.step_px)


def by_nearest_shape(shapes: Sequence[Shape], pictures: Sequence[TrainingImage]) -> dict[Shape, list[TrainingImage]]:
    """The pictures of each shape that is used, in the order of the shapes."""
    found: dict[Shape, list[TrainingImage]] = {shape: [] for shape in shapes}
    for picture in pictures:
        found[nearest_shape(picture.size, shapes)].append(picture)
    return {shape: its for shape, its in found.items() if its}


def sentences_of(picture: TrainingImage) -> tuple[str, ...]:
    return picture.sentences or (picture.caption,)


def _all_sentences(pictures: Sequence[TrainingImage], prior: Prior | None) -> tuple[str, ...]:
    """Every sentence once, the empty one first."""
    used = [sentence for picture in pictures for sentence in sentences_of(picture)] + ([prior.prompt] if prior else [])
    return ("", *dict.fromkeys(sentence for sentence in used if sentence))


def _bucket(
    shape: Shape,
    pictures: list[TrainingImage],
    row_of: dict[str, int],
    sides: int,
    background_weight: float,
    context: EncodingContext,
) -> Bucket:
    cache, components = context.cache, context.components
    crops = [centre_crop(picture.size, shape) for picture in pictures]
    return Bucket(
        latents=latent_cache.picture_latents(cache, components, pictures, shape, context.on_progress)[:, :sides],
        texts=tuple(tuple(row_of[sentence] for sentence in sentences_of(picture)) for picture in pictures),
        n_pictures=len(pictures),
        names=tuple(picture.file_name for picture in pictures),
        sizes=_size_ids(crops)[:, :sides],
        masks=mask_weights(cache, components, pictures, crops, background_weight, sides),
    )


def _size_ids(crops: Sequence[Crop]) -> torch.Tensor:
    """(n, 2, 6): of each picture and its mirror image."""
    rows = [[crop.size_ids(flipped=False), crop.size_ids(flipped=True)] for crop in crops]
    return torch.tensor(rows, dtype=torch.float32)


def _with_prior(bucket: Bucket, shape: Shape, prior: Prior, row_of: dict[str, int], context: EncodingContext) -> Bucket:
    """The bucket and its prior examples: generated pictures, or every picture once more for the teacher."""
    n = prior.images or bucket.n_pictures
    name = "a prior picture" if prior.images else "a picture for the teacher"
    bucket = replace(bucket, texts=bucket.texts + ((row_of[prior.prompt],),) * n, names=bucket.names + (name,) * n)
    if not prior.images:
        return bucket
    sides = bucket.latents.shape[1]
    with context.autocast():
        generated = latent_cache.prior_latents(
            context.cache, context.components, prior.prompt, n, shape, context.seed, context.on_progress
        )
    generated = generated.float()[:, :sides]
    assert bucket.sizes is not None
    sizes = torch.cat([bucket.sizes, _size_ids([centre_crop(shape, shape)] * n)[:, :sides]])
    return replace(bucket, latents=torch.cat([bucket.latents, generated]), sizes=sizes)


def _placed(buckets: Sequence[Bucket], device: torch.device) -> list[Bucket]:
    """Everything on the device; latents that are too many for it stay where the device can copy from."""
    small = sum(bucket.latents.nbytes for bucket in buckets) <= MAX_BYTES_ON_DEVICE
    return [
        replace(
            bucket,
            latents=bucket.latents.to(device) if small else _pinned(bucket.latents, device),
            sizes=None if bucket.sizes is None else bucket.sizes.to(device),
            masks=None if bucket.masks is None else bucket.masks.to(device),
        )
        for bucket in buckets
    ]


def _pinned(latents: torch.Tensor, device: torch.device) -> torch.Tensor:
    """In pinned memory, so that a GPU can copy while it computes."""
    return latents.pin_memory() if device.type == "cuda" else latents
