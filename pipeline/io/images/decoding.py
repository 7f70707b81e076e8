"""Pictures from outside, decoded in child processes: none of them can crash, hang or exhaust the stage.

A child reads and decodes one file after another under limits of memory, time and pixels, measures the picture and sends
back what was measured, never the pixels. When it dies (the kernel ends it when its time is up, whatever it is busy
with) another takes its place, and the picture it was at is refused. To the codes of `codecs` that adds

    decoder_crashed     the child died
    took_too_long       more than `seconds` of CPU, or `PATIENCE` times that by the clock
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
from pipeline.io.images.codecs import Picture

if TYPE_CHECKING:
    from pipeline.core.params import Decode

T = TypeVar("T")
Measure = Callable[[Picture, Any], Any]

SPAWN = multiprocessing.get_context("spawn")  # a fork of a process with torch's threads may hang
PATIENCE = 3  # the machine may have other work than this
ASSIGNED = 2  # jobs in a child's pipe: it never waits for the next
LOOK_AHEAD = 32  # jobs for each child that are begun before the first of them is answered
MAX_FILE_BYTES = 2**30  # what a child may write
MAX_OPEN_FILES = 256
# Memory kept for the next picture: fresh memory costs as much as decoding into it.
KEPT_BLOCKS = 4  # of 16 MB, by Pillow
KEPT_BYTES, M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = 32 * 2**20, -1, -3  # by the C library; names of malloc.h


@dataclass(frozen=True)
class DecodeJob:
    """A file to decode and a small picklable key that says which it is."""

    path: Path
    key: Any = None


def decoded(
    jobs: Iterable[DecodeJob], limits: Decode, measure: Callable[[Picture, Any], T]
) -> Iterator[tuple[Any, T | Rejection]]:
    """(key, what `measure(picture, key)` returned or why there is no picture), in the order of the jobs, lazily.

    `measure` is picklable (a function of a module or a partial of one), runs in the child and returns something
    small; what it raises is raised here. InputError when a file cannot be read.
    """
    todo = iter(jobs)
    first = list(islice(todo, limits.processes or cores()))
    if first:
        with _crew(len(first), limits, measure) as crew:
            yield from _in_order(crew, first, todo)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class _Ticket:
    job: DecodeJob
    answer: Any = None
    answered: bool = False

    def close(self, answer: Any) -> None:
        self.answer, self.answered = answer, True


def _in_order(crew: _Crew, first: list[DecodeJob], todo: Iterator[DecodeJob]) -> Iterator[tuple[Any, Any]]:
    window = deque(_Ticket(job) for job in first)
    crew.waiting.extend(window)
    while True:
        fresh = [_Ticket(job) for job in islice(todo, crew.size * LOOK_AHEAD - len(window))]
        window.extend(fresh)
        crew.waiting.extend(fresh)
        if not window:  # only now: all that were begun may be answered at once, when the first of them was slow
            return
        crew.work()
        while window and window[0].answered:
            ticket = window.popleft()
            if isinstance(ticket.answer, BaseException):
                raise ticket.answer
            yield ticket.job.key, ticket.answer


class _Child:
    """A process with its end of a pipe, and the tickets it was given and has not answered, oldest first."""

    def __init__(self, limits: Decode, measure: Measure) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_serve, args=(theirs, limits, measure), daemon=True)
        with _sigint_held():
            self.process.start()
        theirs.close()
        self.assigned: deque[_Ticket] = deque()
        self.ready = False

    def give(self, ticket: _Ticket) -> None:
        self.assigned.append(ticket)
        with suppress(OSError):  # it died; the next look at the pipe tells of what
            self.pipe.send(ticket.job)

    def hear(self) -> None:
        """Take the next message; EOFError or OSError when the child is dead."""
        message = self.pipe.recv()
        if self.ready:
            self.assigned.popleft().close(message)
        self.ready = True  # the first message says no more than that

    def end(self) -> int:
        """Its exit code, killed if it still lives."""
        self.process.kill()
        self.process.join()
        self.pipe.close()
        return self.process.exitcode


class _Crew:
    """Children of one measure, and the tickets that no child has yet."""

    def __init__(self, size: int, limits: Decode, measure: Measure) -> None:
        self.size, self.limits, self.measure = size, limits, measure
        self.children: list[_Child] = []
        self.waiting: deque[_Ticket] = deque()

    def work(self) -> None:
        """Hand out what is waiting, wait until a child says something or dies, and take it in."""
        while len(self.children) < self.size:
            self.children.append(_Child(self.limits, self.measure))
        for _ in range(ASSIGNED):
            for child in self.children:
                if self.waiting and child.ready and len(child.assigned) < ASSIGNED:
                    child.give(self.waiting.popleft())
        listening = {child.pipe: child for child in self.children if child.assigned or not child.ready}
        for pipe in connection.wait(listening):
            self._hear(listening[pipe])

    def _hear(self, child: _Child) -> None:
        try:
            child.hear()
        except (EOFError, OSError):
            child.process.join()
            self._replace(child)

    def _replace(self, child: _Child) -> None:
        """The ticket it died of is answered; the others wait again, before all that wait."""
        exit_code = child.end()
        self.children.remove(child)
        if not child.ready:
            raise InputError(f"a decoding process could not start (exit code {exit_code}); what it said stands above")
        if child.assigned:
            child.assigned.popleft().close(_death(exit_code, self.limits.seconds))
        self.waiting.extendleft(reversed(child.assigned))


@contextmanager
def _crew(size: int, limits: Decode, measure: Measure) -> Iterator[_Crew]:
    crew = _Crew(size, limits, measure)
    try:
        yield crew
    finally:
        for child in crew.children:
            child.end()


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
    if exit_code == -signal.SIGKILL:  # not by this process: the system's answer when memory runs out
        return codecs.too_much_memory()
    return Rejection("decode", "decoder_crashed", f"The decoder crashed on it (exit code {exit_code}).")


def _serve(pipe: connection.Connection, limits: Decode, measure: Measure) -> None:
    """A child's life. By now the modules of `measure` are loaded, so that they do not count as a picture's memory."""
    _confine(limits)
    try:
        pipe.send(None)
        while True:
            job = pipe.recv()
            _allow_seconds(limits.seconds)
            answer = _answer(job, limits, measure)
            signal.alarm(0)
            pipe.send(answer)
    except (EOFError, BrokenPipeError):  # the parent is gone
        return
    except Exception as error:
        error.add_note(f"in a decoding process:\n{traceback.format_exc()}")
        pipe.send(error)
        raise


def _answer(job: DecodeJob, limits: Decode, measure: Measure) -> Any:
    try:
        picture = codecs.picture(_read(job.path), limits.max_pixels, limits.max_frames)
        return picture if isinstance(picture, Rejection) else measure(picture, job.key)
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
    _keep_memory()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff and others complain there about what is judged here


def _keep_memory() -> None:
    Image.core.set_blocks_max(KEPT_BLOCKS)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it
    for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD) if mallopt else ():
        mallopt(option, KEPT_BYTES)


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def _allow_seconds(seconds: int) -> None:
    """Of CPU from now on, and more by the clock; the kernel ends the process when they are used up."""
    signal.alarm(PATIENCE * seconds)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    most = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
