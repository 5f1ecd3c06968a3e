"""What may befall a run whose fault stands under wedging traffic, and what came of it.

Each strike hits Toxiproxy, or kills the engine. What is promised: users are served a few seconds
after the removal has begun, if need be by a stand-in; a proxy whose close was not answered is never
deleted; the run heals, or ends with exit 7 and goes on healing; what others did to the proxy is
exit 6 with the command that mends it; and nobody says "clean" while it is not.
"""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL

from chaosbandit.core.events import ExposureStarted, Observed, Stopped
from chaosbandit.core.model import Phase
from chaosbandit.store.journal import read
from tests.e2e.freezing_path import (
    FALLBACK,
    IMPATIENT,
    ORIGINAL,
    SCENARIO,
    SETTLED_S,
    Stage,
    standing,
)
from tests.e2e.large_answers import GIVE_UP_S
from tests.e2e.runs import Command, Ended, journals, ledger_files, processes_with, soon
from tests.faultpoints.outages import Heard

SERVED_S = 8.0  # users are well again so long after the removal has begun, or the server is back
PATIENT_S = 2.5  # longer than any dose of the fallback's ladder
REMOVED_S = 2.0  # and where nothing happened but a removal
END_S = 150.0  # a run's end, with its looks at a frozen server
NORMAL_S = 90.0  # and by then, after its end, the watchdog has the path normal
WATCHED_S = 65.0  # and then nothing looks for late calls any more


@dataclass(slots=True)
class Struck:
    """What a strike says of itself."""

    froze: bool = False  # it left the server frozen
    back_s: float = 0.0  # when the server was there again, where it was away
    gone: bool = False  # the operator's proxy is gone, which is not ours to mend
    restart: bool = False  # it does not heal by itself: the operator does as he is told


Strike = Callable[[Stage, Command, ExitStack], Struck]


def delete_the_toxic(stage: Stage, run: Command, stack: ExitStack) -> Struck:
    """As a third party does that knows nothing of runs; this is the call that freezes."""
    name = stage.server.toxic()
    assert name is not None, "no fault stands"
    # Whoever asks may stop waiting: the server goes on with it.
    path = f"/proxies/{ORIGINAL}/toxics/{name}"
    return Struck(froze=stage.server.status("DELETE", path, within_s=0.5) is None)


def delete_the_toxic_unread(stage: Stage, run: Command, stack: ExitStack) -> Struck:
    """The same with a client that never reads: this one does not end by itself."""
    host, _, port = stage.environment["CB_LISTEN"].rpartition(":")
    client = stack.enter_context(socket.create_connection((host, int(port))))
    client.sendall(b"GET /endless HTTP/1.1\r\nHost: bulk\r\n\r\n")
    time.sleep(3.0)  # until every buffer is full behind the toxic
    what = delete_the_toxic(stage, run, stack)
    what.restart = True
    return what


def stop_for(duration_s: float) -> Strike:
    """The whole server hangs for a while."""

    def strike(stage: Stage, run: Command, stack: ExitStack) -> Struck:
        stage.server.stop_for(duration_s)
        return Struck(froze=True, back_s=time.monotonic() + duration_s)

    return strike


def kill_and_start(*, with_config: bool) -> Strike:
    """The server dies and is back after a second, with or without the operator's proxy."""

    def strike(stage: Stage, run: Command, stack: ExitStack) -> Struck:
        stage.server.kill()
        time.sleep(1.0)
        stage.server.start(with_config=with_config)
        return Struck(back_s=time.monotonic(), gone=not with_config)

    return strike


def kill_the_engine(stage: Stage, run: Command, stack: ExitStack) -> Struck:
    """SIGKILL: the watchdog cuts."""
    run.send(SIGKILL)
    return Struck()


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one run that was struck while its fault stood."""

    exit_code: int
    froze: bool
    ended_s: float  # from the strike to the run's end
    served_s: float | None  # from the removal's begin, or the server's return, until users are well
    normal: bool  # users are well at the end of all, and nothing of ours is left
    lied: bool  # said clean, and a user's request failed afterwards
    reckless: tuple[str, ...]  # deletions of a proxy whose close was not answered
    commands_worked: bool | None  # None: none were printed
    wanted_codes: tuple[int, ...]
    ended: Ended = field(repr=False)

    @property
    def kept(self) -> bool:
        """Whether everything that is promised was kept."""
        served = self.served_s is not None and self.served_s <= SERVED_S
        return (
            served
            and self.normal
            and not self.lied
            and not self.reckless
            and self.commands_worked is not False
            and self.exit_code in self.wanted_codes
        )


_ANY = (0, 4, 5, 6)


def struck(strike: Strike, *, codes: tuple[int, ...] = (*_ANY, 7)) -> Trial:
    """Start a run, strike when clients have begun to give up, and see what becomes of it."""
    overheard = strike in (delete_the_toxic, delete_the_toxic_unread, kill_the_engine)
    with standing(overheard=overheard) as stage, ExitStack() as stack:
        server, users = stage.server, stage.users
        with stage.run() as run:
            run.until_exposed(1)
            assert soon(lambda: server.toxic() is not None), run.err
            time.sleep(1.3 * GIVE_UP_S)
            assert run.process.poll() is None, run.err
            struck_s = time.monotonic()
            what = strike(stage, run, stack)
            said_s, ended = _ended(run)
            ended_s = time.monotonic()
        worked = paste(ended, stage.folder) if what.gone else None
        began_s = max(_removal_s(stage.folder) or struck_s, struck_s, what.back_s)
        began_s = ended_s if what.gone and worked else began_s
        well_s = users.normal_at(began_s, ended_s + NORMAL_S)
        if what.restart:
            server.kill()
            server.start()
        served_s = None if well_s is None else well_s - began_s
        return Trial(
            exit_code=ended.code,
            froze=what.froze,
            ended_s=ended_s - struck_s,
            served_s=served_s,
            normal=_is_normal(stage),
            lied=not what.gone and said_s is not None and bool(users.failed(said_s, said_s + 5.0)),
            reckless=reckless(() if stage.box is None else stage.box.heard),
            commands_worked=worked,
            wanted_codes=(-SIGKILL,) if strike is kill_the_engine else codes,
            ended=ended,
        )


def _is_normal(stage: Stage) -> bool:
    """Whether in the end nothing of ours is left, and users have been well for a second."""
    server, state = stage.server, stage.folder
    gone = soon(lambda: server.status("GET", f"/proxies/{ORIGINAL}") == 200, NORMAL_S)
    gone = gone and soon(lambda: not ledger_files(state) and not server.ours(), NORMAL_S)
    gone = gone and soon(lambda: not processes_with(f"{state}/chaosbandit"), WATCHED_S)
    from_s = time.monotonic()
    time.sleep(1.0 + SETTLED_S)
    return gone and not stage.users.failed(from_s, from_s + 1.0)


def reckless(heard: Iterable[Heard]) -> tuple[str, ...]:
    """Deletions of a proxy that was not seen to be closed: they take the whole API down."""
    answered: dict[str, bool] = {}
    found = []
    for call in [*heard]:
        method, path = call.text.split(b" ", 2)[:2]
        if path.count(b"/") != 2:
            continue  # no proxy of its own
        name = path.decode().rpartition("/")[2]
        if method == b"POST" and b'"enabled": false' in call.text:
            answered[name] = call.status is not None
        elif method == b"DELETE" and not answered.get(name, True):
            found.append(f"DELETE {name}")
    return tuple(found)


def paste(ended: Ended, folder: Path) -> bool | None:
    """Run the command that the run ended with; whether it said that it worked."""
    last = [event for event in read(journals(folder)[-1]) if isinstance(event, Stopped)]
    found = re.search(r"curl -sS .*$", last[-1].reason) if last else None
    if found is None:
        return None
    return subprocess.run(["sh", "-c", found[0]], capture_output=True, timeout=60).returncode == 0


def _ended(run: Command) -> tuple[float | None, Ended]:
    """The end of a run, and when it first claimed that the path is clean."""
    said_s = None
    give_up_s = time.monotonic() + END_S
    while run.process.poll() is None:
        if said_s is None and "clean: verified" in run.out:
            said_s = time.monotonic()
        assert time.monotonic() < give_up_s, f"no end within {END_S:g} s:\n{run.err}"
        time.sleep(0.002)
    if said_s is None and run.process.returncode not in (7, -SIGKILL):
        said_s = time.monotonic()  # any other end says that nothing is left
    return said_s, run.ended()


# --- what the run itself does ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Removed:
    """What users saw of one removal of the run's own."""

    exit_code: int  # of its run
    normal_s: float | None  # from the last request of the exposure; None: not before the next one
    lied: bool
    unanswered: int  # calls of its run; a frozen server answers none
    cut: int | None  # connections that its run cut

    @property
    def kept(self) -> bool:
        """Never frozen, nobody cut, users well at once."""
        soon = self.normal_s is not None and self.normal_s < REMOVED_S
        return soon and self.exit_code == 0 and not (self.lied or self.unanswered or self.cut)


def removals(
    at_least: int,
    scenario: str = SCENARIO,
    shop: Sequence[str] = (),
    give_up_s: float = GIVE_UP_S,
) -> list[Removed]:
    """Run after run until that many exposures were removed; after a bad one on a new stage."""
    found: list[Removed] = []
    while len(found) < at_least:
        with standing(scenario, shop, give_up_s=give_up_s) as stage:
            well = True
            while well and len(found) < at_least:
                removed = _removed(stage)
                found += removed
                well = all(one.kept for one in removed)
    return found


def _removed(stage: Stage) -> list[Removed]:
    """The removals of one run."""
    assert stage.box is not None
    before = len(stage.box.heard)
    with stage.run() as run:
        said_s, ended = _ended(run)
    ended_s = time.monotonic()
    time.sleep(SETTLED_S + 1.0)
    lied = said_s is not None and bool(stage.users.failed(said_s, ended_s + 1.0))
    unanswered = sum(call.status is None for call in stage.box.heard[before:])
    cut = re.search(r"cut: (\d+) connections? by us", ended.out)
    many = None if cut is None else int(cut[1])
    found = []
    for began_s, until_s in _removals(stage.folder):
        normal_s = stage.users.normal_at(began_s, until_s)
        after_s = None if normal_s is None else normal_s - began_s
        found.append(Removed(ended.code, after_s, lied, unanswered, many))
    return found


def fallback_removals(at_least: int) -> list[Removed]:
    """The same where only the service gives up, after 200 ms behind a fallback; up to 1.5 s."""
    return removals(at_least, FALLBACK, IMPATIENT, give_up_s=PATIENT_S)


def _removals(folder: Path) -> list[tuple[float, float]]:
    """When each removal of the latest run began, and when the next exposure or the end came."""
    found: list[tuple[float, float]] = []
    last_s: float | None = None
    for event in read(journals(folder)[-1]):
        match event:
            case ExposureStarted() | Stopped():
                if last_s is not None:
                    found.append((last_s, event.now_s))
                last_s = None
            case Observed() if event.phase in (Phase.WARMUP, Phase.MEASURE):
                ends = (sample.intended_s + sample.latency_s for sample in event.samples)
                last_s = max([*ends, last_s or 0.0])
    return found


def _removal_s(folder: Path) -> float | None:
    """When the removal of the first exposure began, on the clock of all processes."""
    began = _removals(folder)
    return began[0][0] if began else None
