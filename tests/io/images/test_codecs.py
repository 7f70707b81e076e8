import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.core.records import Rejection
from pipeline.io.images import codecs
from tests.pictures import encoded, scene

LIMIT = 1_000_000


@pytest.mark.parametrize("form", codecs.FORMATS)
def test_every_format_is_sniffed_and_decoded(form):
    content = encoded(scene(1), form)
    assert codecs.sniff(content) == form
    decoded = codecs.decode(content, LIMIT)
    assert (decoded.mode, decoded.size, decoded.info) == ("RGB", (256, 192), {})


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        (b"", "empty_file", "empty"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html><title>404</title>", "not_an_image", "HTML"),
        (b"%PDF-1.7", "not_an_image", "PDF"),
        (b'{"error": 1}', "not_an_image", "JSON"),
        (b"BMW is a car, and this is a text about it", "not_an_image", "something else"),
        (b'<?xml version="1.0"?>\n<svg onload="x()"/>', "unsupported_format", "SVG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unsupported_format", "HEIC"),
        (b"8BPS\0\1", "unsupported_format", "Photoshop"),
    ],
)
def test_what_is_no_picture_is_named(content, code, word):
    refused = codecs.decode(content, LIMIT)
    assert isinstance(refused, Rejection)
    assert refused.code == code and word in refused.sentence


@pytest.mark.parametrize("form", codecs.FORMATS)
def test_half_a_file_is_refused(form):
    content = encoded(scene(2), form)
    assert codecs.decode(content[: len(content) // 2], LIMIT).code in ("truncated", "undecodable")


def test_a_jpeg_that_lost_only_its_end_mark_is_truncated():
    assert codecs.decode(encoded(scene(2), "JPEG")[:-2], LIMIT).code == "truncated"


def test_a_jpeg_with_something_behind_its_end_is_whole():
    content = encoded(scene(2), "JPEG") + b"\xff\xda some video that a phone put there"
    assert isinstance(codecs.decode(content, LIMIT), Image.Image)


def test_pixels_are_counted_before_any_is_decoded():
    assert codecs.decode(encoded(scene(1)), 1000).code == "too_many_pixels"
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    ihdr = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    bomb = encoded(scene(1))[:8] + ihdr + encoded(scene(1))[33:]
    start = time.monotonic()
    assert codecs.decode(bomb, LIMIT).code == "too_many_pixels"
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_come_upright(orientation):
    picture = scene(3)
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that stores it so that EXIF turns it back
    stored = picture.transpose(Image.Transpose(turns[orientation])) if orientation > 1 else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = codecs.decode(encoded(stored, "PNG", exif=exif), LIMIT)
    assert decoded.tobytes() == picture.tobytes()


def test_what_is_transparent_becomes_white():
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    picture.putpixel((0, 0), (10, 20, 30, 255))
    for stored in (picture, picture.quantize()):
        decoded = codecs.decode(encoded(stored), LIMIT)
        assert decoded.getpixel((4, 4)) == (255, 255, 255)
        assert decoded.getpixel((0, 0)) == (10, 20, 30)


def test_colours_are_brought_to_srgb_and_the_profile_is_dropped():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # In this colour space red is what sRGB calls green.
    exchanged = srgb.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    decoded = codecs.decode(encoded(Image.new("RGB", (8, 8), (250, 0, 0)), icc_profile=exchanged), LIMIT)
    red, green, blue = decoded.getpixel((4, 4))
    assert green > 240 and red < 20 and blue < 20
    assert b"iCCP" not in codecs.png(decoded)


def test_a_profile_of_another_kind_of_picture_is_ignored():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    content = encoded(Image.new("L", (8, 8), 100), icc_profile=lab)
    assert codecs.decode(content, LIMIT).getpixel((0, 0)) == (100, 100, 100)


def test_a_damaged_profile_or_exif_is_no_reason_to_drop_a_picture():
    content = encoded(scene(1), "JPEG", icc_profile=b"no profile", exif=b"Exif\0\0no exif")
    assert codecs.decode(content, LIMIT).size == (256, 192)


def test_sixteen_bits_are_reduced_and_not_cut():
    deep = Image.fromarray(np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64))
    grey = np.asarray(codecs.decode(encoded(deep), LIMIT))[..., 0]
    assert grey.min() == 0 and grey.max() == 255 and 110 < np.median(grey) < 145


def test_cmyk_and_lab_become_rgb():
    assert codecs.decode(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"), LIMIT).getpixel((0, 0)) == (255,) * 3
    red, green, blue = codecs.decode(encoded(Image.new("LAB", (8, 8), (200, 128, 128)), "TIFF"), LIMIT).getpixel((0, 0))
    assert max(red, green, blue) - min(red, green, blue) <= 3


def test_of_an_animation_the_first_frame_is_taken():
    content = encoded(scene(1).convert("P"), "GIF", save_all=True, append_images=[scene(2).convert("P")])
    first = codecs.decode(encoded(scene(1).convert("P"), "GIF"), LIMIT)
    assert codecs.decode(content, LIMIT).tobytes() == first.tobytes()


def test_a_picture_knows_its_format_and_counts_its_frames():
    still = codecs.decode_all_frames(encoded(scene(1), "JPEG"), LIMIT, 1)
    assert (still.format, still.n_frames, still.image.size) == ("JPEG", 1, (256, 192))
    frames = [scene(seed).convert("P") for seed in range(3)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert codecs.decode_all_frames(content, LIMIT, 3).n_frames == 3
    assert codecs.decode_all_frames(content, LIMIT, 2).code == "too_many_frames"


def test_what_a_phone_puts_behind_its_jpeg_is_left_alone():
    content = encoded(scene(1), "MPO", save_all=True, append_images=[scene(2)])
    assert Image.open(io.BytesIO(content)).format == "MPO"
    for stored in (content, content[: len(content) - 3000]):  # many sites cut the second picture off
        phone = codecs.decode_all_frames(stored, LIMIT, 1)
        assert (phone.format, phone.n_frames) == ("JPEG", 1)


def test_a_progressive_jpeg_needs_all_its_scans():
    content = encoded(scene(1), "JPEG", progressive=True)
    starts = [at for at in range(len(content)) if content[at : at + 2] == b"\xff\xda"]
    assert len(starts) > 5
    assert isinstance(codecs.decode(content, LIMIT), Image.Image)
    assert {codecs.decode(content[:at] + b"\xff\xd9", LIMIT).code for at in starts[1:]} == {"truncated"}


def test_a_profile_that_is_srgb_by_another_name_changes_no_pixel():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = scene(1)
    assert codecs.decode(encoded(picture, icc_profile=srgb), LIMIT).tobytes() == picture.tobytes()


def test_shrinking_keeps_the_shape_and_never_enlarges():
    assert codecs.shrink(scene(1, (400, 200)), 100).size == (200, 100)
    assert codecs.shrink(scene(1, (400, 200)), 300).size == (400, 200)
    assert codecs.shrink(scene(1, (1000, 3)), 2).size == (667, 2)


@pytest.mark.parametrize("size", [(256, 192), (1, 1), (1, 300), (300, 1), (333, 7)])
def test_a_png_holds_every_pixel(size):
    content = codecs.png(scene(4, size))
    stored = Image.open(io.BytesIO(content))
    stored.load()
    assert (stored.format, stored.mode, stored.info) == ("PNG", "RGB", {})
    assert stored.tobytes() == scene(4, size).tobytes()


def test_pngs_are_not_much_larger_than_pillows():
    for picture in (scene(5), Image.new("RGB", (256, 192), "white")):
        assert len(codecs.png(picture)) < 1.1 * len(encoded(picture)) + 1000


def test_a_large_picture_is_shrunk_nearly_as_lanczos_would():
    picture = scene(6, (1600, 1200))
    exact = np.asarray(picture.resize((256, 192), Image.Resampling.LANCZOS), dtype=float)
    assert np.abs(np.asarray(codecs.shrink(picture, 192)) - exact).mean() < 1


def test_thumbnails_keep_the_shape_and_never_enlarge():
    for size, expected in (((400, 200), (100, 50)), ((60, 30), (60, 30)), ((3, 4000), (1, 100))):
        assert codecs.decode(codecs.thumbnail(scene(1, size), 100), LIMIT).size == expected


def test_the_same_picture_gives_the_same_bytes():
    assert codecs.png(scene(1)) == codecs.png(scene(1))
    assert codecs.thumbnail(scene(1), 64) == codecs.thumbnail(scene(1), 64)
    assert codecs.decode(codecs.thumbnail(scene(1), 64), LIMIT).size == (64, 48)
