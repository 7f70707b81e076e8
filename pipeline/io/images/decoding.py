"""Decoding in child processes: a picture from outside cannot crash, hang or exhaust the stage.

A child reads and decodes one file after another under limits of memory, time and pixels, measures the picture and sends
back the measures, never the pixels. When it dies (the kernel ends it when its time is up, whatever it is busy with)
another takes its place, and the picture that it was decoding is rejected. To the codes of `codecs` that adds

    decoder_crashed     the child died
    took_too_long       more than `seconds` of CPU, or `CLOCK_FACTOR` times that by the clock
    too_much_memory     more than `memory_mb`

Each child has a pipe of its own, so that it is certain at which picture it died; process pools that share one queue
(concurrent.futures, pebble) break at the first death or now and then blame the wrong picture.
"""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image

from pipeline.core.errors import InputError
from pipeline.core.records import Rejection
from pipeline.io.images import codecs
from pipeline.io.images.codecs import DecodedImage

if TYPE_CHECKING:
    from pipeline.core.data_params import Decode

T = TypeVar("T")
Measure = Callable[[DecodedImage, str], Any]

SPAWN = multiprocessing.get_context("spawn")  # a fork of a process with torch's threads may hang
CLOCK_FACTOR = 3  # the machine may have other work than this
MAX_ASSIGNED = 2  # jobs in a child's pipe: it never waits for the next
PREFETCH = 32  # jobs for each child that are begun before the first of them is done
MAX_FILE_BYTES = 2**30  # what a child may write
MAX_OPEN_FILES = 256
# Memory kept for the next picture: fresh memory costs as much as decoding into it.
KEPT_BLOCKS = 4  # of 16 MB, by Pillow
KEPT_BYTES, M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = 32 * 2**20, -1, -3  # by the C library; names of malloc.h


@dataclass(frozen=True)
class DecodeJob:
    """A file to decode, and the key that names it in the results."""

    path: Path
    key: str = ""


def decoded(
    jobs: Iterable[DecodeJob], limits: Decode, measure: Callable[[DecodedImage, str], T]
) -> Iterator[tuple[str, T | Rejection]]:
    """(key, what `measure(image, key)` returned or why there is no picture), in the order of the jobs, lazily.

    `measure` is picklable (a function of a module or a partial of one), runs in the child and returns something
    small; what it raises is raised here. InputError when a file cannot be read.
    """
    remaining = iter(jobs)
    first = list(islice(remaining, limits.processes or cores()))
    if first:
        with _worker_pool(len(first), limits, measure) as pool:
            yield from _in_order(pool, first, remaining)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Task:
    """A job and, once it is done, its result."""

    job: DecodeJob
    result: Any = None
    done: bool = False

    def complete(self, result: Any) -> None:
        self.result, self.done = result, True


def _in_order(pool: _WorkerPool, first: list[DecodeJob], remaining: Iterator[DecodeJob]) -> Iterator[tuple[str, Any]]:
    window = deque(_Task(job) for job in first)
    pool.waiting.extend(window)
    while True:
        fresh = [_Task(job) for job in islice(remaining, pool.size * PREFETCH - len(window))]
        window.extend(fresh)
        pool.waiting.extend(fresh)
        if not window:  # only now: all that were begun may be done at once, when the first of them was slow
            return
        pool.run_until_a_message()
        while window and window[0].done:
            task = window.popleft()
            if isinstance(task.result, BaseException):
                raise task.result
            yield task.job.key, task.result


class _Worker:
    """A child process with its end of a pipe, and the tasks that it was sent and has not completed, oldest first."""

    def __init__(self, limits: Decode, measure: Measure) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_serve, args=(theirs, limits, measure), daemon=True)
        with _sigint_held():
            self.process.start()
        theirs.close()
        self.assigned: deque[_Task] = deque()
        self.ready = False

    def send(self, task: _Task) -> None:
        self.assigned.append(task)
        with suppress(OSError):  # it died; the next read of the pipe finds out of what
            self.pipe.send(task.job)

    def receive(self) -> None:
        """Take the next message; EOFError or OSError when the child is dead."""
        message = self.pipe.recv()
        if self.ready:
            self.assigned.popleft().complete(message)
        self.ready = True  # that is all that the first message means

    def end(self) -> int:
        """Kill it if it still lives; its exit code."""
        self.process.kill()
        self.process.join()
        self.pipe.close()
        return self.process.exitcode or 0


class _WorkerPool:
    """Workers of one measure, and the tasks that no worker has yet."""

    def __init__(self, size: int, limits: Decode, measure: Measure) -> None:
        self.size, self.limits, self.measure = size, limits, measure
        self.workers: list[_Worker] = []
        self.waiting: deque[_Task] = deque()

    def run_until_a_message(self) -> None:
        """Send out what is waiting, wait until a worker sends a message or dies, and take it in."""
        while len(self.workers) < self.size:
            self.workers.append(_Worker(self.limits, self.measure))
        for _ in range(MAX_ASSIGNED):
            for worker in self.workers:
                if self.waiting and worker.ready and len(worker.assigned) < MAX_ASSIGNED:
                    worker.send(self.waiting.popleft())
        busy = {worker.pipe: worker for worker in self.workers if worker.assigned or not worker.ready}
        for pipe in connection.wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index]  # only pipes were waited for
            try:
                worker.receive()
            except (EOFError, OSError):
                worker.process.join()
                self._replace(worker)

    def _replace(self, worker: _Worker) -> None:
        """The task that it died of is completed; its others wait again, before all that wait."""
        exit_code = worker.end()
        self.workers.remove(worker)
        if not worker.ready:
            raise InputError(f"a decoding process could not start (exit code {exit_code}); its error stands above")
        if worker.assigned:
            worker.assigned.popleft().complete(_death(exit_code, self.limits.seconds))
        self.waiting.extendleft(reversed(worker.assigned))


@contextmanager
def _worker_pool(size: int, limits: Decode, measure: Measure) -> Iterator[_WorkerPool]:
    pool = _WorkerPool(size, limits, measure)
    try:
        yield pool
    finally:
        for worker in pool.workers:
            worker.end()


@contextmanager
def _sigint_held() -> Iterator[None]:
    """Ctrl-C reaches the children of a terminal too; held back while one starts, it never does: the mask is theirs."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _death(exit_code: int, seconds: int) -> Rejection:
    if exit_code in (-signal.SIGXCPU, -signal.SIGALRM):
        sentence = f"Decoding it took more than the {seconds} seconds that curate.decode.seconds allows."
        return Rejection("decode", "took_too_long", sentence)
    if exit_code == -signal.SIGKILL:  # not by this process: the kernel does that when memory runs out
        return codecs.too_much_memory()
    return Rejection("decode", "decoder_crashed", f"The decoder crashed on it (exit code {exit_code}).")


def _serve(pipe: connection.Connection, limits: Decode, measure: Measure) -> None:
    """The loop of a child. The modules of `measure` are loaded by now, so they do not count as a picture's memory."""
    _confine(limits)
    try:
        pipe.send(None)
        while True:
            job = pipe.recv()
            _allow_seconds(limits.seconds)
            result = _result(job, limits, measure)
            signal.alarm(0)
            pipe.send(result)
    except (EOFError, BrokenPipeError):  # the parent is gone
        return
    except Exception as error:
        error.add_note(f"in a decoding process:\n{traceback.format_exc()}")
        pipe.send(error)
        raise


def _result(job: DecodeJob, limits: Decode, measure: Measure) -> Any:
    try:
        image = codecs.decode_all_frames(_read(job.path), limits.max_pixels, limits.max_frames)
        return image if isinstance(image, Rejection) else measure(image, job.key)
    except MemoryError:
        return codecs.too_much_memory()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); run `paleo collect` again") from None


def _confine(limits: Decode) -> None:
    if sys.platform == "linux":  # elsewhere the address space of a running process cannot be limited
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + limits.memory_mb * 2**20)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    Image.MAX_IMAGE_PIXELS = limits.max_pixels // 2  # Pillow itself refuses what has twice as many, in any frame
    _keep_freed_memory()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff and others complain there about what is judged here


def _keep_freed_memory() -> None:
    Image.core.set_blocks_max(KEPT_BLOCKS)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it
    if mallopt:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _allow_seconds(seconds: int) -> None:
    """Of CPU from now on, and more by the clock; the kernel ends the process when they are used up."""
    signal.alarm(CLOCK_FACTOR * seconds)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    most = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
