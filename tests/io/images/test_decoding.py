import ctypes
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import deque
from functools import partial
from pathlib import Path

import psutil
import pytest

from pipeline.core.data_params import Decode
from pipeline.core.errors import InputError
from pipeline.core.records import Rejection
from pipeline.io.files import atomic_write
from pipeline.io.images import codecs
from pipeline.io.images.decoding import PREFETCH, DecodeJob, _in_order, decoded
from tests.pictures import encoded, scene
from tests.project import restore_sigint

ROOT = Path(__file__).parents[3]
LIMITS = Decode(processes=2, memory_mb=512, seconds=1, max_pixels=1_000_000, max_frames=10)


def measure(decoded_image, key):
    """Do to the child what the key says."""
    match key:
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(0)
        case "out of memory":
            bytearray(4 * 2**30)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            time.sleep(60)
        case "burn":
            while True:
                pass
        case "bug":
            raise LookupError("no such key")
    return os.getpid(), decoded_image.image.size, decoded_image.format, decoded_image.n_frames


def write_thumbnail(decoded_image, key, folder):
    atomic_write.write_bytes(folder / f"{key}.webp", codecs.thumbnail(decoded_image.image, 64))


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(scene(1), "JPEG"))
    return path


def _code(found):
    return found.code if isinstance(found, Rejection) else "ok"


def test_pictures_and_rejections_come_in_the_order_of_the_jobs(tmp_path, photo):
    empty = tmp_path / "empty.jpg"
    empty.write_bytes(b"")
    moving = tmp_path / "moving.gif"
    frames = [scene(seed).convert("P") for seed in (2, 3)]
    moving.write_bytes(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    jobs = [DecodeJob([photo, empty, moving][n % 3], str(n)) for n in range(60)]
    found = list(decoded(jobs, LIMITS, measure))
    assert [key for key, _ in found] == [str(n) for n in range(60)]
    values = [value for _, value in found]
    assert [_code(value) for value in values[:3]] == ["ok", "empty_file", "ok"]
    assert values[0][1:] == ((256, 192), "JPEG", 1) and values[2][1:] == ((256, 192), "GIF", 2)
    assert os.getpid() not in {value[0] for value in values if not isinstance(value, Rejection)}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_child_that_dies_is_blamed_for_one_picture_and_replaced(photo, processes):
    keys = ["", "segfault", "", "exit", "out of memory", "", "killed", "segfault", "segfault", ""]
    limits = LIMITS.model_copy(update={"processes": processes})
    found = decoded(map(DecodeJob, itertools.repeat(photo), keys), limits, measure)
    expected = {
        "": "ok",
        "segfault": "decoder_crashed",
        "exit": "decoder_crashed",
        "out of memory": "too_much_memory",
        "killed": "too_much_memory",
    }
    assert [(key, _code(value)) for key, value in found] == [(key, expected[key]) for key in keys]


def test_a_child_that_hangs_or_computes_for_ever_is_ended(photo):
    keys = ["sleep", "", "burn", ""]
    found = decoded(map(DecodeJob, itertools.repeat(photo), keys), LIMITS, measure)
    assert [(key, _code(value)) for key, value in found] == [
        ("sleep", "took_too_long"),
        ("", "ok"),
        ("burn", "took_too_long"),
        ("", "ok"),
    ]


def test_jobs_are_taken_as_they_are_needed_and_children_end_with_the_last_result_used(photo):
    taken = itertools.count()
    jobs = (DecodeJob(photo, str(next(taken))) for _ in range(1_000_000))
    found = decoded(jobs, LIMITS, measure)
    assert [next(found)[0] for _ in range(10)] == [str(n) for n in range(10)]
    children = {process.pid for process in multiprocessing.active_children()}
    found.close()
    assert next(taken) < 200
    assert len(children) >= 2 and not any(psutil.pid_exists(pid) for pid in children)


class AllAtOnce:
    """A pool that completes everything in one go, as it happens when the first of many pictures took longest."""

    size = 1

    def __init__(self):
        self.waiting = deque()

    def run_until_a_message(self):
        while self.waiting:
            task = self.waiting.popleft()
            task.complete(task.job.key)


def test_no_job_is_lost_when_all_that_were_begun_are_done_at_once():
    jobs = [DecodeJob(Path(), str(number)) for number in range(3 * PREFETCH)]
    found = [key for key, _ in _in_order(AllAtOnce(), jobs[:1], iter(jobs[1:]))]
    assert found == [job.key for job in jobs]


def test_no_job_needs_no_child():
    assert list(decoded([], LIMITS, measure)) == []


def test_measuring_may_write_files(tmp_path, photo):
    list(decoded([DecodeJob(photo, "a")], LIMITS, partial(write_thumbnail, folder=tmp_path / "thumbs")))
    assert codecs.sniff((tmp_path / "thumbs/a.webp").read_bytes()) == "WEBP"


def test_a_mistake_in_measuring_is_raised_and_says_where(photo):
    with pytest.raises(LookupError, match="no such key") as caught:
        list(decoded([DecodeJob(photo), DecodeJob(photo, "bug"), DecodeJob(photo)], LIMITS, measure))
    assert "test_decoding.py" in caught.value.__notes__[0]


def test_a_missing_file_is_an_error_with_its_name(tmp_path):
    with pytest.raises(InputError, match=r"gone\.jpg cannot be read \(No such file"):
        list(decoded([DecodeJob(tmp_path / "gone.jpg")], LIMITS, measure))


def test_memory_is_counted_above_what_the_child_has_anyway(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(encoded(scene(1, (3000, 2000))))  # 24 MB decoded
    codes = []
    for memory_mb in (10, 200):
        limits = LIMITS.model_copy(update={"memory_mb": memory_mb, "max_pixels": 10_000_000})
        codes += [_code(value) for _, value in decoded([DecodeJob(path)], limits, measure)]
    assert codes == ["too_much_memory", "ok"]


SCRIPT = """
    import time
    from pathlib import Path
    from pipeline.core.data_params import Decode
    from pipeline.io.images.decoding import DecodeJob, decoded
    from tests.io.images.test_decoding import measure

    limits = Decode(processes=2, memory_mb=512, seconds={seconds}, max_pixels=10**6, max_frames=9)
    try:
        for key, value in decoded([DecodeJob(Path({path!r}), key) for key in ("", "sleep", "sleep")], limits, measure):
            print("one is done", flush=True)
    except KeyboardInterrupt:
        print("interrupted")
"""


def _started(photo, seconds) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT.format(path=str(photo), seconds=seconds))]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        text=True,
        start_new_session=True,
        preexec_fn=restore_sigint,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == "one is done\n"
    return process


def test_ctrl_c_ends_the_children_without_a_word(photo):
    process = _started(photo, seconds=100)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=30) == ("interrupted\n", "")
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_children_do_not_outlive_a_parent_that_was_killed(photo):
    process = _started(photo, seconds=1)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.kill()
    process.communicate()
    assert psutil.wait_procs(children, timeout=20)[1] == []
