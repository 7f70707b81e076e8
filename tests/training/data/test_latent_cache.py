import errno
import functools
import io
import resource
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pipeline.core.errors import InputError
from pipeline.families import family
from pipeline.families.guidance import guided
from pipeline.methods.tensor_files import write_tensors
from pipeline.training.data import latent_cache
from pipeline.training.data.latent_cache import LatentCache, TrainingImage


def _picture(number: int = 0, size: tuple[int, int] = (24, 20)) -> TrainingImage:
    pixels = np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return TrainingImage(f"train/{number}.png", stream.getvalue(), "a bird")


@pytest.fixture(scope="module")
def components(sd_base):
    return family("sd").load(sd_base)


@pytest.fixture
def cache(tmp_path):
    return LatentCache(tmp_path / "cache", model="m1", precision="no", vae="v1")


def _files(cache):
    return sorted(cache.folder.rglob("*.safetensors"))


def test_latents_are_the_scaled_mean_of_the_picture_and_its_mirror_image(components, cache):
    latents = latent_cache.picture_latents(cache, components, [_picture()], (16, 16))
    pixels = latent_cache.fit(_picture(), (16, 16))
    with torch.no_grad():
        wanted = components.vae.encode(torch.stack([pixels, pixels.flip(-1)])).latent_dist.mean * 0.5
    assert latents.shape == (1, 2, 4, 8, 8)
    torch.testing.assert_close(latents[0], wanted)


def test_cached_latents_are_not_computed_again(components, cache, monkeypatch):
    first = latent_cache.picture_latents(cache, components, [_picture(0), _picture(1)], (16, 16))
    monkeypatch.setattr(latent_cache, "encode_pixels", lambda *_: pytest.fail("encoded again"))
    assert torch.equal(
        latent_cache.picture_latents(cache, components, [_picture(1), _picture(0)], (16, 16)), first.flip(0)
    )


def test_other_bytes_another_size_or_precision_are_other_entries(components, cache):
    latent_cache.picture_latents(cache, components, [_picture(0)], (16, 16))
    latent_cache.picture_latents(cache, components, [_picture(1)], (16, 16))
    latent_cache.picture_latents(cache, components, [_picture(0)], (8, 8))
    latent_cache.picture_latents(replace(cache, precision="bf16"), components, [_picture(0)], (16, 16))
    latent_cache.picture_latents(replace(cache, vae="v2"), components, [_picture(0)], (16, 16))
    latent_cache.picture_latents(cache, replace(components, dtype=torch.float16), [_picture(0)], (16, 16))
    assert len(_files(cache)) == 6
    latent_cache.picture_latents(
        replace(cache, model="m2"), components, [_picture(0)], (16, 16)
    )  # another UNet, the same VAE
    assert len(_files(cache)) == 6


def test_earlier_entries_change_no_bit(components, cache, tmp_path):
    latent_cache.picture_latents(cache, components, [_picture(2)], (16, 16))
    warm = latent_cache.picture_latents(cache, components, [_picture(number) for number in range(4)], (16, 16))
    elsewhere = replace(cache, folder=tmp_path / "other")
    cold = latent_cache.picture_latents(elsewhere, components, [_picture(n) for n in range(4)], (16, 16))
    assert torch.equal(warm, cold)


def _truncated(path, other):
    path.write_bytes(path.read_bytes()[:-40])


def _one_bit_changed(path, other):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def _swapped(path, other):
    path.write_bytes(other.read_bytes())


def _other_names(path, other):
    save_file({"latent": load_file(path)["latents"]}, path, {"seal": "x"})


def _other_shape(path, other):
    tensors = {"latents": load_file(path)["latents"].reshape(-1)}
    with safe_open(path, "pt") as entry:
        save_file(tensors, path, entry.metadata())


def _no_tensors(path, other):
    path.write_bytes(b"<html>")


DAMAGES = [_truncated, _one_bit_changed, _swapped, _other_names, _other_shape, _no_tensors]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_computed_again(components, cache, damage):
    first = latent_cache.picture_latents(cache, components, [_picture()], (16, 16))
    (path,) = _files(cache)
    whole = path.read_bytes()
    latent_cache.picture_latents(cache, components, [_picture(1)], (16, 16))
    (other,) = set(_files(cache)) - {path}
    damage(path, other)
    assert torch.equal(latent_cache.picture_latents(cache, components, [_picture()], (16, 16)), first)
    assert path.read_bytes() == whole


def test_progress_is_reported(components, cache):
    reported = []
    latent_cache.picture_latents(
        cache, components, [_picture(0), _picture(1)], (16, 16), lambda *progress: reported.append(progress)
    )
    latent_cache.prior_latents(cache, components, "a bird", 5, (16, 16), 1, lambda *progress: reported.append(progress))
    assert reported == [
        ("encoding pictures", 1, 2),
        ("encoding pictures", 2, 2),
        ("drawing prior pictures", 4, 5),
        ("drawing prior pictures", 5, 5),
    ]


@pytest.mark.parametrize("shape", [(16, 16), (24, 12), (8, 32)])
def test_latents_have_the_requested_shape(components, cache, shape):
    latents = latent_cache.picture_latents(cache, components, [_picture()], shape)
    assert latents.shape == (1, 2, 4, shape[0] // 2, shape[1] // 2)
    assert latent_cache.prior_latents(cache, components, "a bird", 1, shape, 1).shape == latents.shape


def test_sentences_are_encoded_by_the_family(components, cache):
    rows = latent_cache.conditioning(cache, components, ["", "a bird"])
    with torch.no_grad():
        torch.testing.assert_close(rows.states, family("sd").encode_prompt(components, ["", "a bird"]).states)
    assert torch.equal(latent_cache.conditioning(cache, components, ["a bird"]).states[0], rows.states[1])


def test_prior_pictures_are_drawn_once_and_depend_on_the_seed_alone(components, cache, monkeypatch):
    first = latent_cache.prior_latents(cache, components, "a bird", 3, (16, 16), seed=1)
    assert first.shape == (3, 2, 4, 8, 8) and torch.isfinite(first).all()
    assert len({latents.sum().item() for latents in first[:, 0]}) == 3  # no picture is another's
    assert not torch.equal(first, latent_cache.prior_latents(cache, components, "a bird", 3, (16, 16), seed=2))
    monkeypatch.setattr(latent_cache, "generate_prior", lambda *_: pytest.fail("drawn again"))
    assert torch.equal(latent_cache.prior_latents(cache, components, "a bird", 3, (16, 16), seed=1), first)


def test_prior_pictures_that_were_drawn_before_a_kill_are_cached(components, cache, monkeypatch, tmp_path):
    monkeypatch.setattr(latent_cache, "PRIOR_STEPS", 2)
    straight = latent_cache.prior_latents(
        replace(cache, folder=tmp_path / "other"), components, "a bird", 6, (16, 16), seed=1
    )

    def killed(*progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        latent_cache.prior_latents(cache, components, "a bird", 6, (16, 16), 1, killed)
    original, drawn = latent_cache.generate_prior, []
    monkeypatch.setattr(
        latent_cache, "generate_prior", lambda *given: (drawn.append(list(given[2])), original(*given))[1]
    )
    assert torch.equal(latent_cache.prior_latents(cache, components, "a bird", 6, (16, 16), seed=1), straight)
    assert drawn == [[4, 5]], "the first batch was cached"
    latent_cache.prior_latents(cache, components, "a bird", 8, (16, 16), seed=1)
    assert drawn == [[4, 5], [4, 5, 6, 7]], "more pictures begin with the same ones"


def test_guidance_is_computed_in_full_precision(components):
    prompts = family("sd").encode_prompt(components, ["", "a bird"])
    x_t, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500, 500])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        both = prompts[torch.tensor([0, 0, 1, 1])]
        predicted = family("sd").predict(components, torch.cat([x_t, x_t]), torch.cat([t, t]), both)
        found = guided(components, prompts, [1, 1])(x_t, t)
    unconditional, conditional = predicted.double().chunk(2)
    assert predicted.dtype == torch.bfloat16 and found.dtype == torch.float32
    torch.testing.assert_close(found.double(), unconditional + 3 * (conditional - unconditional), atol=1e-6, rtol=1e-6)


@contextmanager
def _no_file_above(n_bytes: int):
    """As on a full disk: the operating system refuses to write more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_tensors_that_cannot_be_cached_are_returned_and_a_warning_is_logged(components, cache):
    logged = []
    logging = replace(cache, log=functools.cache(logged.append))
    with _no_file_above(1000):
        found = latent_cache.picture_latents(logging, components, [_picture(0), _picture(1)], (16, 16))
    assert torch.equal(found, latent_cache.picture_latents(cache, components, [_picture(0), _picture(1)], (16, 16)))
    assert logged == [
        f"nothing can be written to {cache.folder} (safetensors: File too large); training continues, and "
        "what is encoded now will be encoded again by the next training"
    ]


def test_a_full_disk_is_an_oserror_and_leaves_no_partial_file(tmp_path):
    with _no_file_above(1000), pytest.raises(OSError, match="File too large") as refused:
        write_tensors(tmp_path / "a/x.safetensors", {"x": torch.zeros(10_000)}, {})
    assert refused.value.errno == errno.EFBIG and not list((tmp_path / "a").iterdir())


@pytest.mark.parametrize(("size", "left", "top"), [((40, 16), 12, 0), ((16, 40), 0, 12)])
def test_the_middle_of_a_picture_is_kept(size, left, top):
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    pixels[top : top + 16, left : left + 16] = (255, 0, 128)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    kept = latent_cache.fit(TrainingImage("a.png", stream.getvalue(), ""), (16, 16))
    assert kept.shape == (3, 16, 16)
    assert torch.equal(kept.amin(dim=(1, 2)), kept.amax(dim=(1, 2)))
    torch.testing.assert_close(kept[:, 0, 0], torch.tensor([1.0, -1.0, 128 / 127.5 - 1]))


@pytest.mark.parametrize("content", [b"<html>", b"", _picture().content[:200]])
def test_a_file_that_is_no_picture_is_named(content):
    with pytest.raises(InputError, match="'train/x.png' is no readable picture; run `paleo curate` again"):
        latent_cache.fit(TrainingImage("train/x.png", content, ""), (16, 16))


def test_a_number_of_threads_finds_what_it_computed_itself(components, cache):
    """It decides how sums are split, and so the last bits."""
    n_threads = torch.get_num_threads()
    try:
        for number in (1, 2, 1):
            torch.set_num_threads(number)
            latent_cache.picture_latents(cache, components, [_picture()], (16, 16))
    finally:
        torch.set_num_threads(n_threads)
    assert len(_files(cache)) == 2
