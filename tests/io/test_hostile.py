"""Files that were made to hurt decoders: each gets a verdict, and nothing else happens."""

import gc
import struct
import threading
import time
import zlib
from collections import Counter
from pathlib import Path

import psutil
import pytest
from PIL import Image

from pipeline.core.data_params import Decode
from pipeline.core.records import Rejection
from pipeline.io.images import decode_codes
from pipeline.io.images.decoding import DecodeJob, decoded
from tests.pictures import encoded, scene

HOSTILE = Path(__file__).parents[3] / "shared/data/hostile"
CODES = {code.code for code in decode_codes.CODES}
FOLDERS = ("svg/", "not_an_image/", "truncated/", "orientation/", "reencode/", "bomb/")
LIMITS = Decode(processes=2, memory_mb=1024, seconds=20, max_pixels=50_000_000, max_frames=100)


def measure(decoded_image, key):
    pixels = decoded_image.image.tobytes()
    return decoded_image.image.size, decoded_image.format, decoded_image.n_frames, zlib.crc32(pixels)


def _code(found):
    return found.code if isinstance(found, Rejection) else "ok"


def _codes(folder, limits=LIMITS):
    jobs = [DecodeJob(path, path.name) for path in sorted(folder.iterdir())]
    return {key: _code(found) for key, found in decoded(jobs, limits, measure)}


class Memory:
    """The most that this process (above what it had) and its children held at once, in bytes."""

    def __enter__(self):
        gc.collect()
        self.process, self.most, self.over = psutil.Process(), 0, threading.Event()
        self.before = self.process.memory_info().rss
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def _watch(self):
        while not self.over.wait(0.01):
            self.most = max(self.most, self._now())

    def _now(self):
        total = self.process.memory_info().rss - self.before
        for child in self.process.children():
            try:
                total += child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png(width: int, height: int, rows: bytes) -> bytes:
    header = struct.pack(">II5B", width, height, 8, 0, 0, 0, 0)
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _gif_whose_second_frame_explodes() -> bytes:
    content = encoded(Image.new("P", (8, 8)), "GIF").removesuffix(b";")
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\x00"
    return content + frame + b";"


def _progressive_scans(content: bytes, scans: int) -> bytes:
    """The beginning of a progressive JPEG with so many of its scans, properly ended."""
    at = -1
    for _ in range(scans + 1):
        at = content.index(b"\xff\xda", at + 1)
    return content[:at] + b"\xff\xd9"


def test_what_was_made_to_hurt_gets_the_code_that_fits(tmp_path):
    photo, frames = scene(1), [scene(seed).convert("P") for seed in range(12)]
    files = {
        "bomb.png": (_png(60_000, 60_000, b""), "too_many_pixels"),
        "zeros.png": (_png(7000, 7000, bytes(7001 * 7000)), "ok"),
        "half.jpg": (encoded(photo, "JPEG")[:4000], "truncated"),
        "stub.jpg": (_progressive_scans(encoded(photo, "JPEG", progressive=True), 4), "truncated"),
        "whole.jpg": (encoded(photo, "JPEG", progressive=True), "ok"),
        "page.jpg": (b"<!doctype html><title>403</title>", "not_an_image"),
        "empty.png": (b"", "empty_file"),
        "script.svg": (b"<svg onload='x()'/>", "unsupported_format"),
        "second.gif": (_gif_whose_second_frame_explodes(), "broken_frame"),
        "long.gif": (encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "too_many_frames"),
        "just.gif": (encoded(frames[0], "GIF", save_all=True, append_images=frames[1:10]), "ok"),
    }
    for name, (content, _) in files.items():
        (tmp_path / name).write_bytes(content)
    found = _codes(tmp_path, LIMITS.model_copy(update={"max_frames": 10}))
    assert found == {name: code for name, (_, code) in files.items()}


@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_a_later_frame_that_is_damaged_is_found(tmp_path, form):
    content = bytearray(encoded(scene(1), form, save_all=True, append_images=[scene(2), scene(3)]))
    (tmp_path / "sound").write_bytes(content)
    content[len(content) // 2 : len(content) // 2 + 150] = b"\x99" * 150
    (tmp_path / "damaged").write_bytes(content)
    assert _codes(tmp_path) == {"damaged": "broken_frame", "sound": "ok"}


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="the hostile pictures (shared/data/hostile) are not here")
def test_every_hostile_file_gets_a_verdict_in_little_time_and_memory_and_always_the_same():
    paths = sorted(path for path in HOSTILE.rglob("*") if path.is_file() and path.name != "index.csv")
    jobs = [DecodeJob(path, path.relative_to(HOSTILE).as_posix()) for path in paths]
    start = time.monotonic()
    with Memory() as memory:
        found = dict(decoded(jobs, LIMITS, measure))
    assert time.monotonic() - start < 60 and memory.most < 10**9
    assert len(found) == len(jobs) >= 390
    codes = {name: _code(one) for name, one in found.items()}
    assert set(codes.values()) <= CODES | {"ok"}
    assert found == dict(decoded(jobs, LIMITS, measure))

    folders = {folder: Counter(codes[name] for name in codes if name.startswith(folder)) for folder in FOLDERS}
    assert set(folders["svg/"] + folders["not_an_image/"]) == {"not_an_image", "unsupported_format"}
    assert folders["truncated/"]["ok"] == folders["bomb/"]["ok"] == 1  # only their metadata is too short or too much
    assert set(folders["orientation/"] + folders["reencode/"]) == {"ok"}
    assert codes["bomb/decompression_bomb_extents.gif"] == "broken_frame"
    stubs = {code for name, code in codes.items() if "peacock.progressive.scan" in name}
    assert stubs == {"truncated"} and codes["progressive/kitten-progressive.jpg"] == "ok"
    assert {codes["animated/frozenpond.mpo"], codes["animated/star.avifs"], codes["animated/iss634.apng"]} == {"ok"}
