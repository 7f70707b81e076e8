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
from pipeline.training.data import latent_cache, masks
from pipeline.training.data.batches import Bucket, Examples
from pipeline.training.data.buckets import Cut, Shape, cut, nearest, shapes
from pipeline.training.data.latent_cache import DRAWING, ENCODING, LatentCache, OnProgress, TrainingImage

MOST_BYTES_ON_DEVICE = 2 << 30  # of latents; more stay in the computer's own memory


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
) -> Examples:
    """Every picture and prior picture as latents, by shape."""
    sentences = _sentences(pictures, prior)
    row_of = {sentence: row for row, sentence in enumerate(sentences)}
    by_shape = by_nearest_shape(train, pictures)
    shares = {shape: ceil(prior.images * len(its) / len(pictures)) if prior else 0 for shape, its in by_shape.items()}
    context = replace(
        context,
        on_progress=summed_progress(context.on_progress, {ENCODING: len(pictures), DRAWING: sum(shares.values())}),
    )
    buckets = []
    for shape, its in by_shape.items():
        bucket = _bucket(train, shape, its, row_of, context)
        if prior:
            bucket = _with_prior(bucket, shape, replace(prior, images=shares[shape]), row_of, context)
        buckets.append(bucket)
    device = context.components.device
    return Examples(tuple(_placed(buckets, device)), sentences, device)


def summed_progress(on_progress: OnProgress, totals: Mapping[str, int]) -> OnProgress:
    """What is reported bucket by bucket, as one count over all buckets; `totals` by what is reported."""
    before: Counter[str] = Counter()

    def onward(what: str, done: int, of_shape: int) -> None:
        on_progress(what, before[what] + done, totals[what])
        if done == of_shape:
            before[what] += of_shape

    return onward


def encode_held_out(train: Train, pictures: Sequence[TrainingImage], context: EncodingContext) -> list[torch.Tensor]:
    """Latents (c, h, w) of pictures that are not learnt from, in memory, each in its own shape."""
    shape_of = {id(picture): shape for shape, its in by_nearest_shape(train, pictures).items() for picture in its}
    found: list[torch.Tensor] = []
    for picture in pictures:
        found.append(
            latent_cache.picture_latents(context.cache, context.components, [picture], shape_of[id(picture)])[0, 0]
        )
        context.on_progress("encoding held-out pictures", len(found), len(pictures))
    return found


def by_nearest_shape(train: Train, pictures: Sequence[TrainingImage]) -> dict[Shape, list[TrainingImage]]:
    """The pictures of each shape that is used, in the order of the shapes."""
    known = shapes(train.resolution_px, train.buckets.max_aspect, train.buckets.step_px)
    found: dict[Shape, list[TrainingImage]] = {shape: [] for shape in known}
    for picture in pictures:
        found[nearest(picture.size, known)].append(picture)
    return {shape: its for shape, its in found.items() if its}


def _sentences(pictures: Sequence[TrainingImage], prior: Prior | None) -> tuple[str, ...]:
    """All that is ever read, the empty one first."""
    said = [sentence for picture in pictures for sentence in sentences_of(picture)] + ([prior.prompt] if prior else [])
    return ("", *dict.fromkeys(sentence for sentence in said if sentence))


def sentences_of(picture: TrainingImage) -> tuple[str, ...]:
    return picture.sentences or (picture.caption,)


def _bucket(
    train: Train, shape: Shape, pictures: list[TrainingImage], row_of: dict[str, int], context: EncodingContext
) -> Bucket:
    components, store = context.components, context.cache
    sides = 1 + train.horizontal_flip
    cuts = [cut(picture.size, shape) for picture in pictures]
    return Bucket(
        latents=latent_cache.picture_latents(store, components, pictures, shape, context.on_progress)[:, :sides],
        texts=tuple(tuple(row_of[sentence] for sentence in sentences_of(picture)) for picture in pictures),
        n_pictures=len(pictures),
        names=tuple(picture.file_name for picture in pictures),
        sizes=_sizes(cuts)[:, :sides],
        masks=masks.weights(store, components, pictures, cuts, train.masks.background_weight, sides),
    )


def _sizes(cuts: Sequence[Cut]) -> torch.Tensor:
    """(n, 2, 6): of each picture and its mirror image."""
    return torch.tensor([[each.ids(mirrored=False), each.ids(mirrored=True)] for each in cuts], dtype=torch.float32)


def _with_prior(bucket: Bucket, shape: Shape, prior: Prior, row_of: dict[str, int], context: EncodingContext) -> Bucket:
    """The bucket and its prior examples: as many as drawn pictures, or every picture once more for the teacher."""
    n = prior.images or bucket.n_pictures
    name = "a prior picture" if prior.images else "a picture for the teacher"
    bucket = replace(bucket, texts=bucket.texts + ((row_of[prior.prompt],),) * n, names=bucket.names + (name,) * n)
    if not prior.images:
        return bucket
    sides = bucket.latents.shape[1]
    with context.autocast():
        drawn = latent_cache.prior_latents(
            context.cache, context.components, prior.prompt, n, shape, context.seed, context.on_progress
        )
    drawn = drawn.float()[:, :sides]
    own = _sizes([cut(shape, shape)] * n)[:, :sides]
    return replace(bucket, latents=torch.cat([bucket.latents, drawn]), sizes=torch.cat([bucket.sizes, own]))


def _placed(buckets: Sequence[Bucket], device: torch.device) -> list[Bucket]:
    """Everything on the device; when the latents are too many they stay where the device can copy from."""
    small = sum(bucket.latents.nbytes for bucket in buckets) <= MOST_BYTES_ON_DEVICE
    return [
        replace(
            bucket,
            latents=bucket.latents.to(device) if small else _copyable(bucket.latents, device),
            sizes=bucket.sizes.to(device),
            masks=None if bucket.masks is None else bucket.masks.to(device),
        )
        for bucket in buckets
    ]


def _copyable(latents: torch.Tensor, device: torch.device) -> torch.Tensor:
    """In pages that stay where they are, so that a GPU can copy while it computes."""
    return latents.pin_memory() if device.type == "cuda" else latents
