"""`clean`: removes what runs left behind, from any process, with or without their ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosbandit.safety.ledger import FaultLedger

_EVERY = "10s"


def clean(
    toxiproxy: Annotated[
        list[str] | None,
        typer.Option(
            "--toxiproxy",
            metavar="URL",
            help="A Toxiproxy API to look at besides the ledger's; may be given more than once.",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help=(
                "All of this run and nothing else, expired or not, even if it is alive: the fault "
                "that stands goes, but a living run may inject anew. Stop it first, by SIGTERM or "
                "a freeze file. Not with --expired."
            ),
        ),
    ] = None,
    expired: Annotated[
        bool,
        typer.Option(
            "--expired",
            help="Only what is past the expiry in its name, whoever made it. Not with --run.",
        ),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="With --expired: go on for ever, one line on stderr for each thing done.",
        ),
    ] = False,
    every: Annotated[
        str, typer.Option(metavar="TIME", help="How often --watch looks, 1s to 3m.")
    ] = _EVERY,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help=(
                "Only say what would be done, with every command, and exit with 7 when there is "
                "something to do."
            ),
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The report as one JSON object on stdout.")
    ] = False,
    ledger: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Another fault ledger than the user's; it has to exist."
        ),
    ] = None,
) -> None:
    """Remove the faults that dead runs left behind.

    Takes our toxics off your proxies without cutting a connection where that is possible, and our
    own proxies away. Looks at the fault ledger, at the servers it names and at those of
    --toxiproxy. Needs no ledger: the names of our toxics and proxies tell run and expiry. What is
    not ours is never touched, a living run's only with --run. A second time, or twice at once, does
    no harm. A ledger file that others may write is read for names only: no command in it is run.

    \b
    Exit 0: nothing is left that should go.
    6: nothing is left, but a path does not answer: others closed it, say;
    7: something may be left, or has to be looked at again; the lines say what to
       do by hand;
       with --dry-run: 7 when there is something to do;
       with --watch: 7 if a server was never reached, too.
    2: wrong usage.

    \b
    Examples:
      chaosbandit clean                      what dead runs of this host left
      chaosbandit clean --dry-run            what that would be
      chaosbandit clean --run abcd2345 --toxiproxy http://10.0.0.5:8474
      chaosbandit clean --expired --json --toxiproxy http://10.0.0.5:8474

    \b
    A sidecar beside Toxiproxy needs no volume, only these container args:
      ["clean", "--expired", "--watch", "--every", "10s",
       "--toxiproxy", "http://127.0.0.1:8474"]
    It shows that it is at work by a disabled proxy cb-lease.sweeper.<until>,
    ends in order on SIGTERM (allow it 30 s), looks again by itself where a call
    to the server may take effect late, and needs a clock that agrees with
    that of the runs to within a minute.

    \b
    A timer instead, for cron:
      * * * * * chaosbandit clean --expired --toxiproxy http://127.0.0.1:8474
    or for systemd, with OnUnitActiveSec=1min in the timer:
      [Service]
      Type=oneshot
      ExecStart=chaosbandit clean --expired --toxiproxy http://127.0.0.1:8474
    """
    import time

    from chaosbandit.cleaning.clean import clean as clean_faults
    from chaosbandit.cli.interrupts import unwind_from_now_on
    from chaosbandit.cli.output import show, telling
    from chaosbandit.cli.state_folder import need_home
    from chaosbandit.cli.target_permission import server_url
    from chaosbandit.errors import Exit

    with telling(as_json):
        need_home()
        servers = tuple(map(server_url, toxiproxy or ()))
        faults = _ledger(ledger)
        if watch:
            every_s = _interval(every, servers, expired, run=run, once=dry_run or as_json)
            raise typer.Exit(_stay_on_duty(faults, servers, every_s))
        _refuse_mistakes(run, expired, every)
        unwind_from_now_on()  # what is being undone is undone to its end
        with _Patience() as patience:
            report = clean_faults(
                faults,
                servers,
                run=run,
                expired=expired,
                dry_run=dry_run,
                now_epoch_s=time.time(),
                say=patience.say,
            )
    show(report.to_json() if as_json else report.text() + "\n", as_json=as_json)
    if report.exit_code is not Exit.ANSWERED:
        raise typer.Exit(report.exit_code)


def _ledger(folder: Path | None) -> FaultLedger:
    """The user's own, which may not exist yet, or the one named: misspelt, it would look clean."""
    from chaosbandit.errors import UsageError
    from chaosbandit.safety.ledger import FaultLedger

    if folder is not None and not folder.exists():
        raise UsageError(
            f"found no --ledger {folder}, wanted the folder of a fault ledger; without --ledger "
            "the user's is looked at"
        )
    return FaultLedger(folder)


def _refuse_mistakes(run: str | None, expired: bool, every: str) -> None:
    """A misspelt run must not look as if nothing of it was left."""
    from chaosbandit.errors import UsageError
    from chaosbandit.faults.names import is_lease

    if run is not None and not is_lease(f"cb-lease.{run}.0"):
        raise UsageError(f"found --run {run!r}, wanted 6-16 characters a-z and 0-9")
    if run is not None and expired:
        raise UsageError(
            "found --run with --expired, wanted one of them: --run RUN takes all of one run away, "
            "expired or not; --expired takes away what is past its expiry, of whatever run"
        )
    if every != _EVERY:
        raise UsageError(f"found --every {every} without --watch, wanted both or neither")


def _interval(
    every: str, servers: Sequence[str], expired: bool, *, run: str | None, once: bool
) -> float:
    """How often to look, once the options make sense together."""
    from chaosbandit.cleaning.sweeper_lease import LONGEST_ROUND_S
    from chaosbandit.errors import UsageError
    from chaosbandit.scenario.quantities import WantedError, duration

    if run is not None or not expired:
        raise UsageError(
            "found --watch without --expired alone, wanted both and no --run: a sweeper goes by "
            "the expiry in the names, since it cannot know which runs are alive on other hosts"
        )
    if not servers:
        raise UsageError("found --watch without --toxiproxy, wanted the servers to watch over")
    if once:
        raise UsageError(
            "found --watch with --dry-run or --json, wanted neither: those report once, at the end"
        )
    try:
        every_s = duration(every)
    except WantedError as error:
        raise UsageError(f"found --every {every!r}, wanted {error}") from error
    if not 1.0 <= every_s <= LONGEST_ROUND_S:
        raise UsageError(
            f"found --every {every}, wanted 1s to {LONGEST_ROUND_S / 60:g}m: the sweeper's lease "
            "is honoured for some minutes only"
        )
    return every_s


def _stay_on_duty(ledger: FaultLedger, servers: Sequence[str], every_s: float) -> int:
    """Sweep until a signal comes; the exit code."""
    import queue
    import signal

    from chaosbandit.cleaning.clean import read
    from chaosbandit.cleaning.sweeper import Sweeper
    from chaosbandit.errors import Exit

    told: queue.SimpleQueue[int] = queue.SimpleQueue()  # may be filled from a signal's callback
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: told.put(number))
    read(ledger)  # refused before anything is said
    _say(f"at work: looking at {', '.join(servers)} every {every_s:g} s for expired faults")
    sweeper = Sweeper(ledger, servers, every_s, _say)
    sweeper.begin()
    number = signal.Signals(told.get())
    _say(f"{number.name}: finishing what is being undone")
    sweeper.end()
    missed = sweeper.never_reached
    for server in missed:
        _say(f"never reached {server}")
    _say(f"ended: {sweeper.undone} undone, {sweeper.left} left")
    return Exit.NOT_CLEAN if sweeper.left or missed else Exit.ANSWERED


def _say(line: str) -> None:
    """On stderr with its time; a reader that is gone must not end the work."""
    import sys
    import time
    from contextlib import suppress

    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{moment} {line}\n")
        sys.stderr.flush()


class _Patience:
    """Says on stderr what is being done, from the moment it takes longer than a second."""

    def __init__(self) -> None:
        import threading

        self._turn = threading.Lock()
        self._latest: list[str] = []
        self._is_late = False
        self._timer = threading.Timer(1.0, self._speak)
        self._timer.daemon = True

    def __enter__(self) -> _Patience:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()

    def say(self, line: str) -> None:
        """Take note of what is being done now."""
        with self._turn:
            self._latest.append(line)
        if self._is_late:
            self._speak()

    def _speak(self) -> None:
        with self._turn:
            self._is_late = True
            for line in self._latest:
                _say(line)
            self._latest.clear()
