"""The text of what stands at a path: pipes are waited for, but not for ever; bytes have places."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from time import perf_counter

import pytest

from chaosbandit.errors import ScenarioError
from chaosbandit.scenario import file_text, load
from tests.scenario.oddities import TEXTS

EDGE = next(text for text in TEXTS if "name: edge-latency\n" in text)


def test_a_pipe_with_a_writer_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    late = threading.Timer(0.1, path.write_text, [EDGE])  # opens it after we did
    late.start()
    loaded = load(path, {})
    late.join()
    assert loaded.scenario.name == "edge-latency"


def test_a_pipe_whose_writer_is_silent_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    monkeypatch.setattr(file_text, "SILENT_S", 0.2)
    held = os.open(path, os.O_RDWR)
    try:
        with pytest.raises(ScenarioError, match="did not end within"):
            load(path, {})
    finally:
        os.close(held)


def test_a_byte_is_placed_in_its_line_whatever_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes("ü: 1\r".encode() + b"b: \xff")
    with pytest.raises(ScenarioError) as caught:
        load(path, {})
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, 4)


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-16-le"]
)
def test_other_encodings_are_named_or_pointed_at(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(("\ufeff" + "a: ü\n").encode(encoding))
    with pytest.raises(ScenarioError, match="UTF-16 or UTF-32"):
        load(path, {})
    path.write_bytes(b"\xef\xbb\xbf" + EDGE.encode())
    assert load(path, {}).source == EDGE


def test_a_pipe_nobody_writes_into_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    start = perf_counter()
    with pytest.raises(ScenarioError, match="found nothing"):
        load(path, {})
    assert perf_counter() - start < file_text.SILENT_S / 2


def test_only_the_beginning_of_what_has_no_end_is_read() -> None:
    assert file_text.text_of(Path("/dev/zero")) == "\0" * (file_text.LARGEST + 4)
