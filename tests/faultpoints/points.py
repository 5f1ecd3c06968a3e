"""Fault points: every place at which a run is struck, counted as it is passed.

A point is a kind, the stack that leads to it and how often that stack was here before. At the point
aimed at, the process kills itself with SIGKILL, so that not one more line of it runs.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import chaosbandit

_PRODUCT = str(Path(chaosbandit.__file__).parent) + os.sep
_DEPTH = 4  # product frames that make a stack
_write, _kill, _pid = os.write, os.kill, os.getpid  # before anything is hooked


@dataclass(frozen=True, slots=True)
class Point:
    """One moment of one campaign, number `n` of all it passed.

    It `follows` when the last point before it was the end of a call in the same thread: all that
    can differ from there is what the run has in memory.
    """

    n: int
    kind: str
    site: str
    ordinal: int
    follows: bool = False

    def __str__(self) -> str:
        return f"{self.n} ({self.kind} no. {self.ordinal} at {self.site})"


@dataclass(frozen=True, slots=True)
class Aim:
    """The point to strike: number `n`, or occurrence `ordinal` of one site."""

    n: int = 0
    kind: str = ""
    site: str = ""
    ordinal: int = 1

    def hits(self, point: Point) -> bool:
        """Whether `point` is meant."""
        if self.n:
            return point.n == self.n
        return (point.kind, point.site, point.ordinal) == (self.kind, self.site, self.ordinal)


class Striker:
    """Counts points in one process and kills it at the one aimed at; `log` survives that."""

    def __init__(self, log: Path, aim: Aim | None) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._aim = aim
        self._passed: list[Point] = []
        self._of_site: Counter[tuple[str, str]] = Counter()
        self._ended_in = 0  # the thread in which the last point was the end of a call
        self._turn = threading.Lock()  # API calls are made in threads

    def point(self, kind: str, site: str) -> None:
        """Pass a point, or die there."""
        with self._turn:
            self._of_site[kind, site] += 1
            follows = self._ended_in == threading.get_ident()
            self._ended_in = threading.get_ident() if site.startswith("after ") else 0
            ordinal = self._of_site[kind, site]
            point = Point(len(self._passed) + 1, kind, site, ordinal, follows)
            self._passed.append(point)
            if self._aim is not None and self._aim.hits(point):
                _write(self._log, json.dumps(asdict(point)).encode() + b"\n")
                _kill(_pid(), signal.SIGKILL)

    def tell(self) -> None:
        """Write down all points passed, at the end of a run that was not struck."""
        with self._turn:
            for point in self._passed:
                _write(self._log, json.dumps(asdict(point)).encode() + b"\n")


def read_points(log: Path) -> list[Point]:
    """What a striker wrote down."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [Point(**json.loads(line)) for line in lines]


def stack_of(frame: FrameType | None, without: tuple[str, ...] = ()) -> str:
    """The product's innermost frames up from `frame`, those in files `without` left out.

    Empty where there are none.
    """
    return _site(_outwards(frame), without)


def stack_awaiting(coroutine: Any) -> str:
    """The product's innermost frames of a coroutine that has just been suspended."""
    return _site(reversed([*_inwards(coroutine)]))


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _inwards(coroutine: Any) -> Iterator[FrameType]:
    while coroutine is not None:
        for prefix in ("cr", "gi", "ag"):
            frame = getattr(coroutine, f"{prefix}_frame", None)
            if frame is not None:
                yield frame
                inner = "gi_yieldfrom" if prefix == "gi" else f"{prefix}_await"
                coroutine = getattr(coroutine, inner)
                break
        else:
            return


def _site(frames: Iterator[FrameType], without: tuple[str, ...] = ()) -> str:
    names = []
    for frame in frames:
        file = frame.f_code.co_filename
        place = file.removeprefix(_PRODUCT).removesuffix(".py")
        if file.startswith(_PRODUCT) and place not in without:
            names.append(f"{place}:{frame.f_lineno} {frame.f_code.co_name}")
            if len(names) == _DEPTH:
                break
    return " < ".join(names)
