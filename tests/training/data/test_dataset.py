"""From pictures to the encoded data set: shapes, size ids, masks, sentences, prior."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.core.errors import InputError, ParamsError
from pipeline.core.records import Subject
from pipeline.families import family
from pipeline.training.data import captions, dataset, latent_cache, masks
from pipeline.training.data.buckets import bucket_shapes, centre_crop, nearest_shape
from pipeline.training.data.dataset import EncodingContext, Prior, encode_dataset
from pipeline.training.data.latent_cache import LatentCache, TrainingImage
from tests.training.world import preflight_log, train_params

DODO = Subject("dodo", "Raphus cucullatus", "bird")


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _picture(number: int, height: int, width: int, **more) -> TrainingImage:
    pixels = np.random.default_rng(number).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return TrainingImage(f"train/{number:02d}.png", _png(pixels), f"dodo {number}", **more)


def _train(**changes):
    return train_params(**{"resolution_px": 16, **changes})


def _bucketed(**more):
    return _train(buckets={"max_aspect": 4.0, "step_px": 4}, **more)


@pytest.fixture(scope="module")
def components(sd_base):
    return family("sd").load(sd_base)


@pytest.fixture
def context(tmp_path, components):
    return EncodingContext(components, LatentCache(tmp_path, "m", "no", "v"), seed=1)


def test_shapes_of_sdxl_are_those_of_its_paper():
    known = bucket_shapes(1024, 2.5, 64)
    assert known[0] == (1024, 1024)
    assert {(1152, 896), (1216, 832), (1344, 768), (640, 1600), (704, 1472)} <= set(known)


@pytest.mark.parametrize(
    ("side_px", "aspect", "step_px"), [(1024, 2.0, 64), (64, 3.0, 8), (64, 4.0, 32), (512, 1.0, 8)]
)
def test_no_shape_is_larger_than_the_square_or_longer_than_is_allowed(side_px, aspect, step_px):
    known = bucket_shapes(side_px, aspect, step_px)
    assert len(known) == len(set(known)) and {(w, h) for h, w in known} == set(known)
    for height, width in known:
        assert height % step_px == width % step_px == 0
        assert 0.7 * side_px**2 <= height * width <= side_px**2
        assert max(height, width) <= aspect * min(height, width)
    assert (len(known) == 1) == (aspect == 1)


@pytest.mark.parametrize(
    ("size", "shape"), [((100, 100), (16, 16)), ((300, 200), (20, 12)), ((100, 900), (8, 32)), ((17, 16), (16, 16))]
)
def test_a_picture_goes_to_the_shape_with_the_nearest_aspect_ratio(size, shape):
    assert nearest_shape(size, bucket_shapes(16, 4.0, 4)) == shape


@pytest.mark.parametrize(("size", "shape"), [((30, 20), (16, 16)), ((7, 50), (8, 32)), ((33, 31), (16, 12))])
def test_a_crop_covers_its_shape_and_keeps_the_middle(size, shape):
    crop = centre_crop(size, shape)
    left, top, right, lower = crop.box
    assert left >= 0 and right <= crop.scaled_width and top >= 0 and lower <= crop.scaled_height
    assert (crop.scaled_height, crop.scaled_width)[0 if crop.scaled_height == shape[0] else 1] in shape
    assert abs(crop.scaled_width - right - left) <= 1 and abs(crop.scaled_height - lower - top) <= 1
    plain, flipped = crop.size_ids(flipped=False), crop.size_ids(flipped=True)
    assert plain == [*size, top, left, *shape]
    assert flipped == [*size, top, crop.scaled_width - right, *shape]


def test_pictures_are_bucketed_by_shape_and_prior_pictures_are_drawn_in_each(context):
    pictures = [_picture(1, 20, 20), _picture(2, 30, 15), _picture(3, 22, 20), _picture(4, 14, 41)]
    made = encode_dataset(_bucketed(horizontal_flip=True), pictures, Prior("a bird", 6), context)
    assert made.sentences == ("", "dodo 1", "dodo 2", "dodo 3", "dodo 4", "a bird")
    found = {bucket.latents.shape[-2:]: bucket for bucket in made.buckets}
    assert {shape: (bucket.n_pictures, bucket.n_prior) for shape, bucket in found.items()} == {
        (8, 8): (2, 3),
        (10, 6): (1, 2),
        (4, 16): (1, 2),
    }
    square = found[8, 8]
    assert square.names == ("train/01.png", "train/03.png") + ("a prior picture",) * 3
    assert square.texts == ((1,), (3,), (5,), (5,), (5,))
    assert square.latents.shape == (5, 2, 4, 8, 8)
    assert square.sizes.tolist()[1] == [[22, 20, 1, 0, 16, 16]] * 2  # scaled to 18 x 16
    assert square.sizes.tolist()[2] == [[16, 16, 0, 0, 16, 16]] * 2
    alone = latent_cache.picture_latents(context.cache, context.components, [pictures[3]], (8, 32))
    assert torch.equal(found[4, 16].latents[:1], alone)


def test_progress_is_reported_over_all_shapes(context):
    reported = []
    pictures = [_picture(0, 20, 20), _picture(1, 20, 20), _picture(2, 10, 40)]
    encode_dataset(
        _bucketed(),
        pictures,
        Prior("a bird", 3),
        replace(context, on_progress=lambda *progress: reported.append(progress)),
    )
    assert [one[1:] for one in reported if one[0] == "encoding pictures"] == [(1, 3), (2, 3), (3, 3)]
    assert [one[1:] for one in reported if one[0] == "drawing prior pictures"] == [(2, 3), (3, 3)]


def test_all_shapes_are_squares_unless_other_aspect_ratios_are_allowed(context):
    made = encode_dataset(_train(), [_picture(1, 20, 20), _picture(2, 30, 15)], None, context)
    assert [bucket.latents.shape for bucket in made.buckets] == [(2, 1, 4, 8, 8)]
    assert made.buckets[0].n_prior == 0 and made.sentences == ("", "dodo 1", "dodo 2")


def test_a_teacher_needs_no_pictures_of_the_class(context, monkeypatch):
    monkeypatch.setattr(latent_cache, "generate_prior", lambda *_: pytest.fail("drawn"))
    made = encode_dataset(_train(), [_picture(1, 20, 20), _picture(2, 30, 15)], Prior("a bird", 0), context)
    assert made.buckets[0].texts == ((1,), (2,), (3,), (3,)) and len(made.buckets[0].latents) == 2


def test_latents_that_are_too_many_for_the_device_stay_in_memory(context, monkeypatch):
    def on(device):
        far = replace(context, components=replace(context.components, device=torch.device(device)))
        placed = dataset._placed(
            encode_dataset(_train(), [_picture(1, 20, 20)], None, context).buckets, far.components.device
        )
        return placed[0].latents.device.type, placed[0].sizes.device.type

    assert on("meta") == ("meta", "meta")
    monkeypatch.setattr(dataset, "MAX_BYTES_ON_DEVICE", 100)
    assert on("meta") == ("cpu", "meta")


def _half(height: int, width: int) -> bytes:
    """A mask that is white on the left."""
    grey = np.zeros((height, width), dtype=np.uint8)
    grey[:, : width // 2] = 255
    return _png(grey)


def test_masks_are_cropped_and_flipped_as_their_pictures_and_keep_the_mean(context):
    with_mask = replace(_picture(1, 20, 40), mask=_half(20, 40))
    made = encode_dataset(
        _train(masks={"background_weight": 0.25}, horizontal_flip=True), [with_mask, _picture(2, 20, 20)], None, context
    )
    weights = made.buckets[0].masks
    assert weights.shape == (2, 2, 1, 8, 8)
    torch.testing.assert_close(weights.mean(dim=(-1, -2)), torch.ones(2, 2, 1))
    plain = torch.cat([torch.full((8, 4), 1.0), torch.full((8, 4), 0.25)], dim=1) / 0.625
    torch.testing.assert_close(weights[0, 0, 0], plain)
    torch.testing.assert_close(weights[0, 1, 0], plain.flip(-1))
    assert torch.equal(weights[1], torch.ones(2, 1, 8, 8))


def test_a_smaller_mask_and_the_edges_of_cells(context):
    """A quarter of the mask is white; it is enlarged, and the cells on its edge are grey."""
    mask = np.zeros((7, 7), dtype=np.uint8)
    mask[:3] = 255
    cells = masks.downsample(_png(mask), "1.png", centre_crop((28, 28), (14, 14)), 4)
    torch.testing.assert_close(cells.amin(dim=1), torch.tensor([1.0, 0.5, 0.0]))
    assert torch.equal(cells.amin(dim=1), cells.amax(dim=1))


def test_without_masks_or_where_black_counts_as_white_there_are_no_weights(context):
    pictures = [replace(_picture(1, 20, 20), mask=_half(20, 20))]
    assert encode_dataset(_train(), pictures, None, context).buckets[0].masks is None
    assert (
        encode_dataset(_train(masks={"background_weight": 0.0}), [_picture(1, 20, 20)], None, context).buckets[0].masks
        is None
    )


KNOWN = {"01.png", "02.png"}


def _assigned(found, background_weight=0.0, folder="data/masks/dodo"):
    return masks.assign_masks([_picture(1, 20, 40), _picture(2, 20, 20)], found, folder, background_weight, KNOWN)


def test_masks_are_assigned_to_their_pictures():
    first, second = _assigned({"01.png": _half(10, 20)})
    assert first.mask == _half(10, 20) and second.mask is None
    assert (
        masks.mask_digests([first, second])["masks"].keys() == {"train/01.png"} and masks.mask_digests([second]) == {}
    )


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            {"03.png": _half(20, 40)},
            "data/masks/dodo/03.png is the mask of no curated picture; masks are PNGs named as",
        ),
        ({"01.jpg": _half(20, 40)}, "data/masks/dodo/01.jpg is the mask of no curated picture"),
        (
            {"01.png": _half(20, 20)},
            "01.png is 20 x 20 pixels and its picture 40 x 20: the sides have another ratio; draw",
        ),
        ({"01.png": b"<html>"}, "'data/masks/dodo/01.png' is no readable picture"),
        ({"01.png": _half(20, 40)[:60]}, "'data/masks/dodo/01.png' is no readable picture"),
        (
            {"01.png": _png(np.zeros((20, 40), np.uint8))},
            "01.png is black, and train.masks.background_weight is 0: nothing of its p",
        ),
        (
            {"01.png": _png(np.zeros((20, 40), np.uint16))},
            "01.png has the mode 'I;16'; save it as a PNG with 8 bits of g",
        ),
    ],
)
def test_masks_that_cannot_be_used_are_refused(found, sentence):
    with pytest.raises(InputError, match=sentence):
        _assigned(found)


def test_a_mask_that_is_black_where_the_picture_is_kept_is_refused(context):
    white_at_the_edge = np.zeros((20, 60), dtype=np.uint8)
    white_at_the_edge[:, 0] = 255
    picture = replace(_picture(1, 20, 60), mask=_png(white_at_the_edge))
    with pytest.raises(InputError, match="the mask of train/01.png is black where the picture is kept"):
        encode_dataset(_train(masks={"background_weight": 0.0}), [picture], None, context)


def test_every_sentence_has_the_name_in_it():
    templates = ("{caption}", "{name}: {caption}", "a {class_noun}, {caption}", "a photo")
    assert captions.fill_templates("a {painting} by raphus cucullatus", templates, DODO) == (
        "a {painting} by raphus cucullatus",
        "Raphus cucullatus: a {painting} by raphus cucullatus",
        "a bird, a {painting} by raphus cucullatus",
        "Raphus cucullatus, a photo",
    )
    assert captions.fill_templates("in the grass", ("{caption}",), DODO) == ("Raphus cucullatus, in the grass",)


def test_every_template_is_a_sentence_of_each_picture(context):
    pictures = [_picture(n, 20, 20, sentences=(f"dodo {n}", f"a dodo, {n}")) for n in (1, 2)]
    made = encode_dataset(_train(), pictures, Prior("a bird", 0), context)
    assert made.sentences == ("", "dodo 1", "a dodo, 1", "dodo 2", "a dodo, 2", "a bird")
    assert made.buckets[0].texts == ((1, 2), (3, 4), (5,), (5,))


def _check(base, train, pictures):
    return preflight_log(base, train, DODO, pictures)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"resolution_px": 17}, "train.resolution_px is 17, but this base needs a multiple of 2; take 16 or 18"),
        (
            {"buckets": {"max_aspect": 2.0, "step_px": 3}},
            "train.buckets.step_px is 3, but this base needs a multiple of 2",
        ),
        (
            {"buckets": {"max_aspect": 2.0, "step_px": 6}},
            "16, which is no multiple of train.buckets.step_px 6; take 12 or",
        ),
    ],
)
def test_sides_that_the_autoencoder_cannot_divide_are_refused_before_weights_are_loaded(sd_base, changes, sentence):
    with pytest.raises(ParamsError, match=sentence):
        _check(sd_base, _train(**changes), [_picture(1, 20, 20)])


def test_a_caption_that_is_longer_than_the_context_is_reported_with_the_tokens_cut(sd_base):
    long = _picture(1, 20, 20, sentences=("abcdefghij", "abcdefghijklmn"))  # a token for each letter, and two more
    train = _train(batch_size=1)
    assert _check(sd_base, train, [_picture(2, 20, 20), long]) == [
        "warning: the caption of train/01.png is longer than the 12 tokens that the text encoder reads; its last 4 are "
        "cut"
    ]
    logged = _check(sd_base, train, [replace(long, file_name=f"train/{n}.png") for n in range(9)])
    assert len(logged) == 4 and logged[-1] == "warning: so are those of 6 other pictures"


def test_placeholder_tokens_replace_the_name_when_tokens_are_counted(sd_base):
    named = _picture(1, 20, 20, sentences=("Raphus cucullatus ab",))
    assert "its last 8 are cut" in _check(sd_base, _train(batch_size=1), [named])[0]
    few = _train(batch_size=1, method="pivotal", pivotal={"vectors": 3})
    assert _check(sd_base, few, [named]) == []
    many = _train(batch_size=1, method="pivotal", pivotal={"vectors": 9})
    assert "its last 1 is cut" in _check(sd_base, many, [named])[0]


def test_fewer_pictures_than_the_batch_are_reported_for_each_shape(sd_base):
    few = [_picture(1, 20, 20), _picture(2, 20, 20), _picture(3, 30, 15)]
    logged = _check(sd_base, _bucketed(batch_size=3), few)
    assert [line.partition(",")[0] for line in logged] == [
        "warning: there are 2 pictures of 16 x 16 pixels",
        "warning: there is 1 picture of 12 x 20 pixels",
    ]
    assert all(
        "fewer than train.batch_size 3: a step may have one more than once, each time with" in one for one in logged
    )
    assert _check(sd_base, _train(batch_size=3), few) == []


def test_a_method_that_preserves_the_base_logs_that_it_needs_no_prior(sd_base):
    train = _train(batch_size=1, method="textual_inversion")
    assert _check(sd_base, train, [_picture(1, 20, 20)]) == [
        "train.prior is not used: textual_inversion changes nothing of what the base knows of the class"
    ]


def test_zero_terminal_snr_logs_what_other_programs_need(sd_base):
    (logged,) = _check(sd_base, _train(batch_size=1, loss={"zero_terminal_snr": True}), [_picture(1, 20, 20)])
    assert "rescale_betas_zero_snr=True and timestep_spacing='trailing'" in logged
