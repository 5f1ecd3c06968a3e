"""What may befall a run whose fault stands under wedging traffic, and what came of it.

Each strike hits Toxiproxy, never the run. What is promised: the path is normal at the end of the
run, or the run ends with exit 7 in time and with the right commands, and the path is normal soon
after; and nobody says "clean" while it is not.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chaosbandit.core.campaign import ExposureStarted, Observed, Stopped
from chaosbandit.core.model import Phase
from chaosbandit.store.journal import read
from tests.e2e.bulky import GIVE_UP_S
from tests.e2e.runs import Command, Ended, journals, soon
from tests.e2e.wedge import SETTLED_S, Stage, Toxiproxy, standing

EXIT_S = 10.0  # a run that cannot confirm its clean-up says so within this
NORMAL_S = 90.0  # and by then, after its end, the watchdog has the path normal

Strike = Callable[[Toxiproxy], bool]  # says whether it left the server frozen


def delete_the_toxic(server: Toxiproxy) -> bool:
    """As a third party does that knows nothing of runs; this is the call that freezes."""
    name = server.fault()
    assert name is not None, "no fault stands"
    path = f"/proxies/{name}/toxics"
    reply = server.call("GET", path)
    assert reply is not None, "Toxiproxy was frozen before"
    (toxic,) = json.loads(reply.text)
    # Whoever asks may stop waiting: the server goes on with it.
    return server.status("DELETE", f"{path}/{toxic['name']}", within_s=0.5) is None


def stop_for(duration_s: float) -> Strike:
    """The whole server hangs for a while."""

    def strike(server: Toxiproxy) -> bool:
        server.stop_for(duration_s)
        return True

    return strike


def kill_and_start(*, with_config: bool) -> Strike:
    """The server dies and is back after a second, with or without the operator's proxy."""

    def strike(server: Toxiproxy) -> bool:
        server.kill()
        time.sleep(1.0)
        server.start(with_config=with_config)
        return False

    return strike


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one run that was struck while its fault stood."""

    exit_code: int
    froze: bool
    ended_s: float  # from the strike to the run's end
    removing_s: float | None  # exit 7: from the end of the last request to the run's end
    normal_s: float | None  # from the strike until 0.3 s without a failed request began
    normal_after_end_s: float | None  # the same from the run's end; None: not within NORMAL_S
    lied: bool  # said clean, and a user's request failed afterwards
    commands_worked: bool | None  # None: none were printed, or the server never answered again
    ended: Ended = field(repr=False)

    @property
    def in_time(self) -> bool:
        """Exit 7 soon enough, or a normal path at the end of the run."""
        if self.exit_code == 7:
            return self.removing_s is not None and self.removing_s <= EXIT_S
        return self.normal_after_end_s is not None and self.normal_after_end_s < 0.5

    @property
    def kept(self) -> bool:
        """Whether everything that is promised was kept."""
        again = self.normal_after_end_s is not None
        return self.in_time and again and not self.lied and self.commands_worked is not False


def struck(strike: Strike, *, by_hand: bool = False) -> Trial:
    """Start a run, strike when clients have begun to give up, and see what becomes of it.

    With `by_hand` somebody pastes the printed commands as soon as the run has ended; otherwise they
    are tried when the server answers again.
    """
    with standing() as stage:
        server, users = stage.server, stage.users
        with stage.run() as run:
            run.until_exposed(1)
            assert soon(lambda: server.fault() is not None), run.err
            time.sleep(1.3 * GIVE_UP_S)
            assert run.process.poll() is None, run.err
            struck_s = time.monotonic()
            froze = strike(server)
            said_s, ended = _ended(run)
            ended_s = time.monotonic()
        worked = paste(stage, ended) if by_hand else None
        after_end_s = users.normal_at(ended_s, ended_s + NORMAL_S)
        normal_s = users.normal_at(struck_s, ended_s + NORMAL_S)
        if not by_hand and soon(lambda: server.status("GET", "/proxies") == 200, NORMAL_S):
            worked = paste(stage, ended)
        return Trial(
            exit_code=ended.code,
            froze=froze,
            ended_s=ended_s - struck_s,
            removing_s=_removing_s(stage.folder, ended_s) if ended.code == 7 else None,
            normal_s=None if normal_s is None else normal_s - struck_s,
            normal_after_end_s=None if after_end_s is None else after_end_s - ended_s,
            lied=said_s is not None and bool(users.failed(said_s, said_s + 5.0)),
            commands_worked=worked,
            ended=ended,
        )


def paste(stage: Stage, ended: Ended) -> bool | None:
    """Run the commands that were printed; whether they left the path normal and nothing of ours."""
    commands = [line.strip() for line in ended.out.splitlines() if line.strip().startswith("curl ")]
    if not commands:
        return None
    codes = [
        subprocess.run(["sh", "-c", command], capture_output=True, timeout=60).returncode
        for command in commands
    ]
    done_s = time.monotonic()
    time.sleep(1.0 + SETTLED_S)
    left = stage.server.fault() is not None
    return not any(codes) and not left and not stage.users.failed(done_s, done_s + 1.0)


def _ended(run: Command) -> tuple[float | None, Ended]:
    """The end of a run, and when it first claimed that the path is clean."""
    said_s = None
    while run.process.poll() is None:
        if said_s is None and "clean: verified" in run.out:
            said_s = time.monotonic()
        time.sleep(0.002)
    if said_s is None and run.process.returncode != 7:
        said_s = time.monotonic()  # any other end says that nothing is left
    return said_s, run.ended()


# --- what the run itself does ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Removed:
    """What users saw of one removal of the run's own."""

    exit_code: int  # of its run
    normal_s: float | None  # from the last request of the exposure; None: not before the next one
    lied: bool


def removals(at_least: int) -> list[Removed]:
    """Run after run on one stage, until that many exposures were removed."""
    found: list[Removed] = []
    with standing() as stage:
        while len(found) < at_least:
            with stage.run() as run:
                said_s, ended = _ended(run)
            ended_s = time.monotonic()
            time.sleep(SETTLED_S + 1.0)
            lied = said_s is not None and bool(stage.users.failed(said_s, ended_s + 1.0))
            for began_s, until_s in _removals(stage.folder):
                normal_s = stage.users.normal_at(began_s, until_s)
                after_s = None if normal_s is None else normal_s - began_s
                found.append(Removed(ended.code, after_s, lied))
    return found


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


def _removing_s(folder: Path, ended_s: float) -> float | None:
    began = _removals(folder)
    return ended_s - began[-1][0] if began else None
