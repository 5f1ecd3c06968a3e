"""Everything that may befall a run at any moment, each as a function that says what was left.

A real `chaosbandit run` is started, something is done to it at a moment drawn from the seed, mostly
while a fault stands, and then server, path, ledger, journal and processes are looked at. What
others do to the proxy meanwhile is in `meddling`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGSTOP, SIGTERM, Signals

from chaosbandit.errors import Exit
from tests.e2e.runs import Command, Ended, chaosbandit, processes_with
from tests.faultpoints.outages import GARBAGE, Disk, Middlebox, Mode, Server, disk, stop
from tests.faultpoints.worlds import PAUSE_S, WITHIN_S, World

WATCHDOG_S = 90.0  # how long the watchdog goes on trying
AGAIN_S = 1.5  # a late call would have arrived by then
CLEAN_WORDS = ("clean: verified", "faults removed and read back", "nothing was left in place")
END_S = 90.0
TOLD = (None, SIGKILL, SIGTERM)  # what happens to a run besides, in equal shares


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one strike led to; `left` and `lied` are empty when all is well."""

    did: str
    code: int | None
    normal_s: float
    left: tuple[str, ...]
    lied: tuple[str, ...] = ()  # "clean" was said while this was so
    watched: bool = False  # a watchdog looks for late calls for up to a minute

    @property
    def bad(self) -> bool:
        """Whether something was left behind, or said to be clean that was not."""
        return bool(self.left or self.lied)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a strike happens; what a watchdog may need afterwards stands for as long as `kept`."""

    world: World
    server: Server
    folder: Path  # for this strike alone
    kept: ExitStack


Situation = Callable[[Place, Random], Outcome]


# --- what is done ---------------------------------------------------------------------------------


def killed(place: Place, rng: Random) -> Outcome:
    """SIGKILL: only the watchdog is left."""
    with running(place) as run:
        did = _moment(run, rng)
        run.send(SIGKILL)
        return judged(place, f"killed {did}", run.ended())


def terminated(place: Place, rng: Random) -> Outcome:
    """SIGTERM."""
    with running(place) as run:
        did = _moment(run, rng)
        run.send(SIGTERM)
        return judged(place, f"SIGTERM {did}", run.ended(END_S), orderly=True)


def hung_up(place: Place, rng: Random) -> Outcome:
    """SIGHUP, as of a terminal that is closed."""
    with running(place) as run:
        did = _moment(run, rng)
        run.send(SIGHUP)
        return judged(place, f"SIGHUP {did}", run.ended(END_S), orderly=True)


def interrupted_twice(place: Place, rng: Random) -> Outcome:
    """Ctrl-C, and again a moment later."""
    with running(place) as run:
        did = _moment(run, rng)
        pause_s = rng.choice((0.0, rng.uniform(0.0, 0.5)))
        run.send(SIGINT)
        time.sleep(pause_s)
        run.send(SIGINT)
        did = f"Ctrl-C twice {pause_s:.2f} s apart {did}"
        return judged(place, did, run.ended(END_S), orderly=True)


def stopped(place: Place, rng: Random) -> Outcome:
    """SIGSTOP: the watchdog takes the fault away; the run wakes up or is killed."""
    with running(place) as run:
        did = _moment(run, rng)
        run.send(SIGSTOP)
        sick_s, sick = _until_well(place.world, WITHIN_S)
        time.sleep(rng.uniform(0.0, 2.0))
        number = rng.choice(TOLD)
        run.send(SIGCONT)
        did += _told(run, rng, number)
        did = f"stopped {did}, well after {sick_s:.2f} s and woken"
        found = judged(place, did, run.ended(END_S), orderly=number != SIGKILL, again=True)
        return replace(found, left=(*(f"while stopped: {line}" for line in sick), *found.left))


def watchdog_killed(place: Place, rng: Random) -> Outcome:
    """The watchdog dies first; the run ends by itself or is told to."""
    with running(place) as run:
        did = _moment(run, rng)
        _kill_watchdog(place.folder)
        told = rng.random() < 0.7
        if told:
            time.sleep(rng.uniform(0.0, 1.0))
            run.send(SIGTERM)
        did = f"watchdog killed {did}, then {'SIGTERM' if told else 'nothing'}"
        return judged(place, did, run.ended(END_S), orderly=True)


def both_killed(place: Place, rng: Random) -> Outcome:
    """Watchdog and run die together; `clean` does the rest."""
    with running(place) as run:
        did = _moment(run, rng)
        _kill_watchdog(place.folder)
        run.send(SIGKILL)
        run.ended()
    ended = chaosbandit(place.folder, "clean")
    lied = _sickness(place.world) if ended.code == 0 else []
    found = judged(place, f"both killed {did}, cleaned", ended, orderly=True)
    wrong = [] if ended.code == 0 else [f"clean ended with {ended.code}: {ended.out}{ended.err}"]
    return replace(found, left=(*wrong, *found.left), lied=(*lied,))


def one_call_late(place: Place, rng: Random, late_s: float | None = None) -> Outcome:
    """One call arrives when the run has long given it up, and perhaps is over."""
    box = place.kept.enter_context(Middlebox(place.world.server))
    with running(place, box.url) as run:
        did = _held(box, run, rng, late_s or rng.choice((4.0, 8.0)))
        number = rng.choice(TOLD)
        did += _told(run, rng, number)
        ended = run.ended(END_S)
        orderly = number != SIGKILL
        lied = _lies(place.world, ended.out + ended.err) if orderly else []
        wrong = _disorder(ended) if orderly else []
        assert box.delivered.wait(END_S)
        found = judged(place, f"{did} ({box.held})", ended, again=True)
        return replace(found, left=(*wrong, *found.left), lied=(*lied, *found.lied))


def one_call_late_then_clean(place: Place, rng: Random, late_s: float | None = None) -> Outcome:
    """Run and watchdog are dead when the call arrives; `clean` finds what it did."""
    with Middlebox(place.world.server) as box, running(place, box.url) as run:
        did = _held(box, run, rng, late_s or rng.choice((4.0, 8.0)))
        _kill_watchdog(place.folder)
        run.send(SIGKILL)
        run.ended()
        assert box.delivered.wait(END_S)
        time.sleep(AGAIN_S)
        options = ["clean", "--toxiproxy", place.world.server]
        ended = chaosbandit(place.folder, *options)
        lied = _sickness(place.world) if ended.code == 0 else []
        found = judged(place, f"{did} ({box.held}), both killed, cleaned", ended, orderly=True)
    wrong = [] if ended.code == 0 else [f"clean ended with {ended.code}: {ended.out}{ended.err}"]
    return replace(found, left=(*wrong, *found.left), lied=(*lied,))


def _held(box: Middlebox, run: Command, rng: Random, late_s: float) -> str:
    """Wait until a call is held up, on the way onto a path or off it."""
    n = rng.choice((1, 2))
    run.until_exposed(n)
    time.sleep(rng.choice((0.0, 0.3)))
    number = rng.choice((1, 1, 2, 3, 4))
    box.hold(number, late_s)
    give_up_s = time.monotonic() + END_S
    while not box.held and run.process.poll() is None and time.monotonic() < give_up_s:
        time.sleep(PAUSE_S)
    assert box.held, "no call was held up"
    return f"call {number} after exposure {n} began {late_s:g} s late"


def disk_full(place: Place, rng: Random) -> Outcome:
    """Nothing more can be written, neither journal nor ledger."""
    with disk(place.folder / "disk") as there:
        return _disk_full(replace(place, folder=there.folder), there, rng)


def _disk_full(place: Place, full: Disk, rng: Random) -> Outcome:
    with running(place) as run:
        did = _moment(run, rng)
        full.fill(run.process.pid)
        how = "file system" if full.mounted else "file size limit"
        ended = run.ended(END_S)
        full.free()
        return judged(place, f"{how} full {did}", ended, orderly=True)


def journal_removed(place: Place, rng: Random) -> Outcome:
    """Somebody tidies the folder of journals up."""
    return _removed(place, rng, "runs")


def state_removed(place: Place, rng: Random) -> Outcome:
    """Somebody tidies the folder of journals and the ledger up."""
    return _removed(place, rng, "")


def _removed(place: Place, rng: Random, name: str) -> Outcome:
    with running(place) as run:
        did = _moment(run, rng)
        shutil.rmtree(place.folder / "chaosbandit" / name, ignore_errors=True)
        return judged(place, f"folder {name!r} removed {did}", run.ended(END_S), orderly=True)


def server_restarted(place: Place, rng: Random) -> Outcome:
    """Toxiproxy is killed and comes back with the operator's configuration."""
    with running(place) as run:
        did = _moment(run, rng)
        place.server.kill()
        away_s = rng.uniform(0.0, 3.0)
        time.sleep(away_s)
        place.server.start(place.world.before)
        number = rng.choice(TOLD)
        did = f"server away for {away_s:.2f} s {did}{_told(run, rng, number)}"
        orderly = number != SIGKILL
        return judged(place, did, run.ended(END_S), orderly=orderly, again=True, late=True)


def api_garbage(place: Place, rng: Random) -> Outcome:
    """What answers at the API's address is something else."""
    return _api_away(place, rng, "garbage")


def api_black_hole(place: Place, rng: Random) -> Outcome:
    """Nothing answers, and what was sent arrives late."""
    return _api_away(place, rng, "silent")


def api_reset(place: Place, rng: Random) -> Outcome:
    """Every connection to the API is reset."""
    return _api_away(place, rng, "reset")


def api_refused(place: Place, rng: Random) -> Outcome:
    """Nobody listens at the API's address, although the server lives: a forwarded port."""
    return _api_away(place, rng, "refused")


def _api_away(place: Place, rng: Random, mode: Mode) -> Outcome:
    garbage, away_s = rng.choice(GARBAGE), rng.uniform(0.5, 5.0)
    return cut_off(place, rng, Outage(mode, away_s, rng.choice(TOLD), garbage))


@dataclass(frozen=True, slots=True)
class Outage:
    """How the way to the API fails, for how long, and what the run is told meanwhile."""

    mode: Mode
    away_s: float
    told: Signals | None = None
    garbage: bytes = b""


def cut_off(place: Place, rng: Random, outage: Outage) -> Outcome:
    """Strike a run that reaches its server through something that fails for a while."""
    box = place.kept.enter_context(Middlebox(place.world.server))
    with running(place, box.url) as run:
        did = _moment(run, rng)
        box.garbage, box.mode = outage.garbage, outage.mode
        began_s = time.monotonic()
        did += _told(run, rng, outage.told)
        time.sleep(max(0.0, began_s + outage.away_s - time.monotonic()))
        orderly = outage.told != SIGKILL
        gone = run.process.poll() is not None and orderly
        early = _lies(place.world, run.out + run.err) if gone else []
        box.mode = "normal"
        what = repr(box.garbage[:24]) if outage.mode == "garbage" else outage.mode
        did = f"API {what} for {outage.away_s:.2f} s {did}"
        found = judged(place, did, run.ended(END_S), orderly=orderly, again=True, late=True)
        return replace(found, lied=(*early, *found.lied))


SITUATIONS: dict[str, Situation] = {
    "SIGKILL": killed,
    "SIGTERM": terminated,
    "SIGHUP": hung_up,
    "double Ctrl-C": interrupted_twice,
    "SIGSTOP": stopped,
    "watchdog killed first": watchdog_killed,
    "both killed, then clean": both_killed,
    "disk full": disk_full,
    "journal folder removed": journal_removed,
    "state folder removed": state_removed,
    "Toxiproxy killed and restarted": server_restarted,
    "API answering garbage": api_garbage,
    "API black-holed": api_black_hole,
    "API resetting connections": api_reset,
    "API refusing connections": api_refused,
    "one call delivered late": one_call_late,
    "one call 30 s late": partial(one_call_late, late_s=30.0),
    "one call late, both killed, then clean": one_call_late_then_clean,
}


# --- how ------------------------------------------------------------------------------------------


@contextmanager
def running(place: Place, server: str | None = None) -> Iterator[Command]:
    """A run on this world, by way of another server address if one is given."""
    scenario = place.folder / "scenario.yaml"
    scenario.write_text(place.world.scenario)
    environment = {**place.world.environment, "CB_DEMO_TOXIPROXY": server or place.world.server}
    with Command(
        place.folder, "run", scenario, "--seed", 1, "--quiet", environment=environment
    ) as run:
        yield run


def _moment(run: Command, rng: Random) -> str:
    """Wait for a moment, in seven of eight cases around a fault that stands."""
    if rng.random() < 0.125:
        after_s = rng.uniform(0.1, 2.0)
        time.sleep(after_s)
        return f"{after_s:.3f} s after its start"
    n, after_s = rng.choice((1, 1, 2)), rng.choice((rng.uniform(0.0, 0.05), rng.uniform(0.0, 0.8)))
    run.until_exposed(n)
    time.sleep(after_s)
    return f"{after_s:.3f} s into exposure {n}"


def _told(run: Command, rng: Random, number: Signals | None) -> str:
    """Send the run a signal within a second, if there is one to send."""
    if number is None:
        return ""
    after_s = rng.uniform(0.0, 1.0)
    time.sleep(after_s)
    run.send(number)
    return f", {number.name} {after_s:.2f} s later"


def _kill_watchdog(state: Path) -> None:
    for line in processes_with(str(state)):
        if "watchdog.py" in line:
            stop(int(line.split()[0]), SIGKILL)


def judged(
    place: Place,
    did: str,
    ended: Ended,
    *,
    orderly: bool = False,
    again: bool = False,
    late: bool = False,
    within_s: float = WITHIN_S,
) -> Outcome:
    """Look at everything, for as long as it may take; `again` a while after it was well."""
    said = ended.out + ended.err
    lied = _lies(place.world, said) if orderly else []
    wrong = _disorder(ended) if orderly else []
    unclean = ended.code == Exit.NOT_CLEAN
    if unclean and "curl " not in said:
        wrong.append(f"exit 7 without a command to paste: {said}")
    patient = unclean or (late and ended.code < 0)  # a run that ended in order said what it left
    normal_s, left = place.world.wait_until_normal(
        place.folder, WATCHDOG_S + within_s if patient else within_s
    )
    if again and not left:
        time.sleep(AGAIN_S)
        left = [f"later: {line}" for line in place.world.wait_until_normal(place.folder, 1.0)[1]]
    watched = bool(place.world.watched(place.folder))
    return Outcome(did, ended.code, normal_s, (*wrong, *left), (*lied,), watched)


def _disorder(ended: Ended) -> list[str]:
    """A run that was not killed ends with one of its codes and a sentence."""
    good = ended.code in {*Exit} - {Exit.INTERNAL, Exit.USAGE} and "Traceback" not in ended.err
    return [] if good else [f"it ended with {ended.code}: {ended.err}"]


def _lies(world: World, said: str) -> list[str]:
    words = [words for words in CLEAN_WORDS if words in " ".join(said.split())]
    return [f"said {words[0]!r} while {line}" for line in _sickness(world)] if words else []


def _sickness(world: World) -> list[str]:
    """What is wrong now; a single slow answer on a busy machine is not."""
    sick: list[str] = []
    for _ in range(5):
        sick = world.sick()
        if not sick:
            return []
        if not sick[0].startswith("a request was answered 200"):
            return sick
        time.sleep(PAUSE_S)
    return sick


def _until_well(world: World, within_s: float) -> tuple[float, list[str]]:
    began_s = time.monotonic()
    while (sick := world.sick()) and time.monotonic() < began_s + within_s:
        time.sleep(PAUSE_S)
    return time.monotonic() - began_s, sick
