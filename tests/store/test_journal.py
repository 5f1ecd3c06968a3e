from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import cast, get_args

import pytest

from chaosbandit.core.campaign import Campaign
from chaosbandit.core.events import (
    BlockRaised,
    Decided,
    Event,
    EvidenceExpired,
    ExposureEnded,
    ExposureStarted,
    Observed,
    RunStarted,
    SteadyStateMeasured,
    Stopped,
    WashedOut,
)
from chaosbandit.core.model import (
    Cause,
    Dose,
    Expose,
    Health,
    Outcome,
    Phase,
    Purpose,
    Route,
    Sample,
    Stop,
    Validity,
    Variant,
)
from chaosbandit.errors import HarnessError, UsageError
from chaosbandit.faults.fault import Toxic
from chaosbandit.store.journal import Journal, default_folder, file_name, read

SOURCE = "version: 1\ntraffic: {headers: {authorization: 'Bearer ${TOKEN}'}}\n"
STARTED = RunStarted(
    run="3fa9c1",
    name="storefront",
    seed=7,
    version="0.1.0",
    epoch_s=1.8e9,
    now_s=12.5,
    source=SOURCE,
    server="http://127.0.0.1:8474",
    server_version="2.12.0",
)
EXPOSED = ExposureStarted(1, 3, 0.19, "cb.3fa9c1.1800000090.1.inventory", 14.0)
STOPPED = Stopped("closed", True, 0, True, "back in the control band", 20.0)
VARIANT = Variant("slow", "inventory", 3, 0.19, (Toxic("latency", {"latency": 190}),))
SAMPLES = tuple(
    Sample(
        n, Route.CANARY, n / 3, n / 3 + 1e-9, 0.1 + 0.2, Outcome.RESPONSE, 200, (n > 7,), (False,)
    )
    for n in range(9)
)
EVENTS: tuple[Event, ...] = (
    STARTED,
    SteadyStateMeasured(True, "holds", (0.01, 1 / 3), 4, 0.006, 2 / 3, {"inventory": 1 / 7}, 13.0),
    Decided(1, Expose(VARIANT, 40, Purpose.HELD, (0.01, 0.02), None, "halves"), 0, 13.5),
    EXPOSED,
    Observed(Phase.MEASURE, 1, SAMPLES),
    Observed(Phase.STEADY, None, (Sample(1, Route.CHECK, 0.0, 0.0, 2.0, Outcome.TIMEOUT),)),
    BlockRaised(24, 6, 15.2),
    EvidenceExpired("older than search.evidence_ttl", 15.5),
    WashedOut(n=1, back=False, why="slow", control_sick=True, check_well=False, now_s=16.0),
    ExposureEnded(
        n=1,
        arm=3,
        validity=Validity(False, "void"),
        dose=Dose(0.19, 0.191, None),
        health=Health(0.001, 0.2, 1),
        lost=2,
        halted="20 bad requests in a row",
        now_s=17.0,
    ),
    Decided(2, Stop("closed", answered=True, cause=Cause.BRACKETED), 3, 18.0),
    STOPPED,
)
NOWHERE = cast(Campaign, None)  # the journal looks at events alone


def written(path: Path, events: tuple[Event, ...] = EVENTS) -> Path:
    with Journal(path) as journal:
        for event in events:
            journal.accept(event, NOWHERE)
    return path


def test_every_type_of_event_survives(tmp_path: Path) -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Event))
    assert read(written(tmp_path / "runs" / "a.jsonl")) == list(EVENTS)


def test_events_are_in_the_file_as_they_happen(tmp_path: Path) -> None:
    with Journal(tmp_path / "a.jsonl") as journal:
        for number, event in enumerate(EVENTS, start=1):
            journal.accept(event, NOWHERE)
            assert read(journal.path) == list(EVENTS[:number])


def test_secrets_stay_unexpanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    text = written(tmp_path / "a.jsonl").read_text()
    assert "${TOKEN}" in text
    assert "hunter2" not in text


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    assert written(tmp_path / "a.jsonl").stat().st_mode & 0o077 == 0


def test_an_exposure_is_on_disk_before_accept_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "a.jsonl", []
    with Journal(path) as journal:
        monkeypatch.setattr(os, "fsync", lambda _: synced.append(read(path)[-1]))
        for event in EVENTS:
            journal.accept(event, NOWHERE)
    assert synced == [EXPOSED, STOPPED]


def test_a_torn_last_line_is_told_and_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl")
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for cut in (start + 1, start + 20, len(whole) - 2):
        path.write_bytes(whole[:cut])
        told: list[str] = []
        assert read(path, told.append) == list(EVENTS[:-1])
        assert len(told) == 1
        assert f"a.jsonl:{len(EVENTS)}: the last line is torn" in told[0]


def test_a_whole_journal_tells_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    read(written(tmp_path / "a.jsonl"), told.append)
    assert told == []


def test_a_missing_newline_alone_loses_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl")
    path.write_bytes(path.read_bytes()[:-1])
    assert read(path) == list(EVENTS)


def test_what_is_no_json_before_the_end_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", (STARTED, EXPOSED))
    path.write_bytes(path.read_bytes().replace(b'{"v":3,"type":"RunStarted"', b"{torn"))
    with pytest.raises(UsageError, match=r"a\.jsonl:1: found a line that is not JSON"):
        read(path)


def test_an_empty_line_between_others_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", (STARTED, EXPOSED))
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\n", 1))
    with pytest.raises(UsageError, match=r"a\.jsonl:2: found a line that is not JSON"):
        read(path)


def test_another_version_is_refused_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"v":3', b'"v":2'))
    with pytest.raises(UsageError, match=r"a\.jsonl:1: found format version 2, wanted 3"):
        read(path)


def test_a_missing_journal_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the journal .*No such file"):
        read(tmp_path / "none.jsonl")


def test_a_full_disk_is_said_and_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real_write, calls = tmp_path / "a.jsonl", os.write, []

    def short_then_full(handle: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            return real_write(handle, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(path) as journal:
        journal.accept(STARTED, NOWHERE)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", short_then_full)
            with pytest.raises(
                HarnessError, match="No space left on device, and nothing is injected"
            ):
                journal.accept(EXPOSED, NOWHERE)
        assert read(path) == [STARTED]
        journal.accept(STOPPED, NOWHERE)
    assert len(calls) == 2
    assert read(path) == [STARTED, STOPPED]


def test_a_deleted_journal_stops_the_run_before_anything_is_injected(tmp_path: Path) -> None:
    with Journal(tmp_path / "runs" / "a.jsonl") as journal:
        journal.accept(STARTED, NOWHERE)
        journal.path.unlink()
        journal.path.parent.rmdir()
        with pytest.raises(HarnessError, match="it was deleted during the run"):
            journal.accept(EXPOSED, NOWHERE)


def test_a_journal_is_never_written_over(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl")
    with pytest.raises(HarnessError, match="File exists"):
        Journal(path)
    assert read(path) == list(EVENTS)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(HarnessError, match="cannot write the journal"):
        Journal(tmp_path / "runs" / "a.jsonl")


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"XDG_STATE_HOME": "/var/state"}, Path("/var/state/chaosbandit/runs")),
        ({"XDG_STATE_HOME": "relative"}, Path.home() / ".local/state/chaosbandit/runs"),
        ({}, Path.home() / ".local/state/chaosbandit/runs"),
    ],
)
def test_default_folder(environ: dict[str, str], folder: Path) -> None:
    assert default_folder(environ) == folder


def test_file_names_sort_by_time_and_keep_to_plain_letters() -> None:
    assert file_name("Größe / x", "3fa9c1", 0.0) == "19700101T000000Z-Gr-e-x-3fa9c1.jsonl"
    assert file_name("..", "3fa9c1", 1.8e9) == "20270115T080000Z-run-3fa9c1.jsonl"
