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
def parts(sd_base):
    return family("sd").load(sd_base)


@pytest.fixture
def store(tmp_path):
    return LatentCache(tmp_path / "cache", model="m1", precision="no", vae="v1")


def _files(store):
    return sorted(store.folder.rglob("*.safetensors"))


def test_latents_are_the_scaled_mean_of_the_picture_and_its_mirror_image(parts, store):
    latents = latent_cache.picture_latents(store, parts, [_picture()], (16, 16))
    pixels = latent_cache.fit(_picture(), (16, 16))
    with torch.no_grad():
        wanted = parts.vae.encode(torch.stack([pixels, pixels.flip(-1)])).latent_dist.mean * 0.5
    assert latents.shape == (1, 2, 4, 8, 8)
    torch.testing.assert_close(latents[0], wanted)


def test_what_is_known_is_not_computed_again(parts, store, monkeypatch):
    first = latent_cache.picture_latents(store, parts, [_picture(0), _picture(1)], (16, 16))
    monkeypatch.setattr(latent_cache, "encode", lambda *_: pytest.fail("encoded again"))
    assert torch.equal(latent_cache.picture_latents(store, parts, [_picture(1), _picture(0)], (16, 16)), first.flip(0))


def test_other_bytes_another_size_or_precision_are_other_entries(parts, store):
    latent_cache.picture_latents(store, parts, [_picture(0)], (16, 16))
    latent_cache.picture_latents(store, parts, [_picture(1)], (16, 16))
    latent_cache.picture_latents(store, parts, [_picture(0)], (8, 8))
    latent_cache.picture_latents(replace(store, precision="bf16"), parts, [_picture(0)], (16, 16))
    latent_cache.picture_latents(replace(store, vae="v2"), parts, [_picture(0)], (16, 16))
    latent_cache.picture_latents(store, replace(parts, dtype=torch.float16), [_picture(0)], (16, 16))
    assert len(_files(store)) == 6
    latent_cache.picture_latents(
        replace(store, model="m2"), parts, [_picture(0)], (16, 16)
    )  # another UNet, the same VAE
    assert len(_files(store)) == 6


def test_what_was_cached_before_changes_no_bit(parts, store, tmp_path):
    latent_cache.picture_latents(store, parts, [_picture(2)], (16, 16))
    warm = latent_cache.picture_latents(store, parts, [_picture(number) for number in range(4)], (16, 16))
    elsewhere = replace(store, folder=tmp_path / "other")
    cold = latent_cache.picture_latents(elsewhere, parts, [_picture(n) for n in range(4)], (16, 16))
    assert torch.equal(warm, cold)


def _cut_short(path, other):
    path.write_bytes(path.read_bytes()[:-40])


def _one_bit_changed(path, other):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def _anothers(path, other):
    path.write_bytes(other.read_bytes())


def _other_names(path, other):
    save_file({"latent": load_file(path)["latents"]}, path, {"seal": "x"})


def _other_shape(path, other):
    tensors = {"latents": load_file(path)["latents"].reshape(-1)}
    with safe_open(path, "pt") as entry:
        save_file(tensors, path, entry.metadata())


def _no_tensors(path, other):
    path.write_bytes(b"<html>")


SPOILT = [_cut_short, _one_bit_changed, _anothers, _other_names, _other_shape, _no_tensors]


@pytest.mark.parametrize("spoil", SPOILT)
def test_an_entry_that_is_not_what_was_written_is_made_again(parts, store, spoil):
    first = latent_cache.picture_latents(store, parts, [_picture()], (16, 16))
    (path,) = _files(store)
    whole = path.read_bytes()
    latent_cache.picture_latents(store, parts, [_picture(1)], (16, 16))
    (other,) = set(_files(store)) - {path}
    spoil(path, other)
    assert torch.equal(latent_cache.picture_latents(store, parts, [_picture()], (16, 16)), first)
    assert path.read_bytes() == whole


def test_each_new_picture_is_told_of(parts, store):
    told = []
    latent_cache.picture_latents(
        store, parts, [_picture(0), _picture(1)], (16, 16), lambda *progress: told.append(progress)
    )
    latent_cache.prior_latents(store, parts, "a bird", 5, (16, 16), 1, lambda *progress: told.append(progress))
    assert told == [
        ("encoding pictures", 1, 2),
        ("encoding pictures", 2, 2),
        ("drawing prior pictures", 4, 5),
        ("drawing prior pictures", 5, 5),
    ]


@pytest.mark.parametrize("shape", [(16, 16), (24, 12), (8, 32)])
def test_latents_have_the_shape_that_is_asked_for(parts, store, shape):
    latents = latent_cache.picture_latents(store, parts, [_picture()], shape)
    assert latents.shape == (1, 2, 4, shape[0] // 2, shape[1] // 2)
    assert latent_cache.prior_latents(store, parts, "a bird", 1, shape, 1).shape == latents.shape


def test_sentences_are_read_as_the_family_reads_them(parts, store):
    rows = latent_cache.conditioning(store, parts, ["", "a bird"])
    with torch.no_grad():
        torch.testing.assert_close(rows.states, family("sd").encode_prompt(parts, ["", "a bird"]).states)
    assert torch.equal(latent_cache.conditioning(store, parts, ["a bird"]).states[0], rows.states[1])


def test_prior_pictures_are_drawn_once_and_depend_on_the_seed_alone(parts, store, monkeypatch):
    first = latent_cache.prior_latents(store, parts, "a bird", 3, (16, 16), seed=1)
    assert first.shape == (3, 2, 4, 8, 8) and torch.isfinite(first).all()
    assert len({latents.sum().item() for latents in first[:, 0]}) == 3  # no picture is another's
    assert not torch.equal(first, latent_cache.prior_latents(store, parts, "a bird", 3, (16, 16), seed=2))
    monkeypatch.setattr(latent_cache, "draw", lambda *_: pytest.fail("drawn again"))
    assert torch.equal(latent_cache.prior_latents(store, parts, "a bird", 3, (16, 16), seed=1), first)


def test_prior_pictures_that_were_drawn_before_a_kill_are_kept(parts, store, monkeypatch, tmp_path):
    monkeypatch.setattr(latent_cache, "PRIOR_STEPS", 2)
    straight = latent_cache.prior_latents(
        replace(store, folder=tmp_path / "other"), parts, "a bird", 6, (16, 16), seed=1
    )

    def killed(*progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        latent_cache.prior_latents(store, parts, "a bird", 6, (16, 16), 1, killed)
    original, drawn = latent_cache.draw, []
    monkeypatch.setattr(latent_cache, "draw", lambda *asked: (drawn.append(list(asked[2])), original(*asked))[1])
    assert torch.equal(latent_cache.prior_latents(store, parts, "a bird", 6, (16, 16), seed=1), straight)
    assert drawn == [[4, 5]], "the first group was kept"
    latent_cache.prior_latents(store, parts, "a bird", 8, (16, 16), seed=1)
    assert drawn == [[4, 5], [4, 5, 6, 7]], "more pictures begin with the same ones"


def test_guidance_is_computed_in_full_precision(parts):
    told = family("sd").encode_prompt(parts, ["", "a bird"])
    x_t, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500, 500])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        both = told[torch.tensor([0, 0, 1, 1])]
        answer = family("sd").predict(parts, torch.cat([x_t, x_t]), torch.cat([t, t]), both)
        found = guided(parts, told, [1, 1])(x_t, t)
    blind, led = answer.double().chunk(2)
    assert answer.dtype == torch.bfloat16 and found.dtype == torch.float32
    torch.testing.assert_close(found.double(), blind + 3 * (led - blind), atol=1e-6, rtol=1e-6)


@contextmanager
def _no_file_above(n_bytes: int):
    """As on a full disk: the operating system refuses to write more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_cannot_be_kept_is_given_all_the_same_and_told(parts, store):
    logged = []
    told = replace(store, say=functools.cache(logged.append))
    with _no_file_above(1000):
        found = latent_cache.picture_latents(told, parts, [_picture(0), _picture(1)], (16, 16))
    assert torch.equal(found, latent_cache.picture_latents(store, parts, [_picture(0), _picture(1)], (16, 16)))
    assert logged == [
        f"nothing can be kept in {store.folder} (safetensors: File too large); the training goes on, and "
        "what is encoded now will be encoded again in the next one"
    ]


def test_a_full_disk_is_an_error_of_the_operating_system_and_leaves_no_rest(tmp_path):
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
def test_what_is_no_picture_is_named(content):
    with pytest.raises(InputError, match="'train/x.png' is no readable picture; run `paleo curate` again"):
        latent_cache.fit(TrainingImage("train/x.png", content, ""), (16, 16))
