"""A run from its first request to what is known of leftovers: decide, record, expose, judge.

Every event is recorded (journal first) before it is acted on. Time comes from the `Clock`, chance
from the header's seed, so the same loop runs on `chaosbandit.sim` and a journal replays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, replace

from chaosbandit.core import judge
from chaosbandit.core.campaign import Campaign
from chaosbandit.core.certified_claims import bracket
from chaosbandit.core.climb import climbs
from chaosbandit.core.ending import ending, stopped_for
from chaosbandit.core.events import BlockRaised, EvidenceExpired, RunStarted, Stopped
from chaosbandit.core.model import Cause, Route, Stop
from chaosbandit.core.policies import Policy
from chaosbandit.core.scenario import Scenario
from chaosbandit.engine.baseline import Baseline
from chaosbandit.engine.exposure import Exposer
from chaosbandit.engine.recorder import Recorder
from chaosbandit.errors import (
    ChaosbanditError,
    CleanupError,
    HarnessError,
    PolicyError,
    SteadyStateError,
    TargetError,
    ToxiproxyError,
)
from chaosbandit.ports import Clock, Injector, KillSwitch, Prober, Sink

AFTERWARDS_S = 60  # spare time of a run for what may come after its last exposure
VERIFY_S = 5.0  # longest look at the data path after an interrupted or failed run
VOIDS_ALLOWED = 3  # void exposures in a row before the run gives up

CAUSES: tuple[tuple[type[ChaosbanditError], Cause], ...] = (
    (CleanupError, Cause.NOT_CLEAN),
    (PolicyError, Cause.POLICY),
    (SteadyStateError, Cause.STEADY_STATE),
    (TargetError, Cause.TARGET),
    (ToxiproxyError, Cause.TOXIPROXY),
    (HarnessError, Cause.HARNESS),
)


@dataclass(frozen=True, slots=True)
class Over:
    """Why a run is over."""

    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True)
class Cleanness:
    """What is known of leftovers: `verified` on the data path, or `left` behind for all we know."""

    verified: bool
    why: str
    left: bool = False


NOTHING_INJECTED = Cleanness(True, "nothing was injected")
NOT_LOOKED_AT = "faults removed and read back; the data path was not looked at"
BACK = "requests through the path are back in the control band"


class Engine:
    """Runs one campaign against whatever stands behind the ports."""

    def __init__(
        self,
        scenario: Scenario,
        policy: Policy,
        *,
        header: RunStarted,
        clock: Clock,
        injector: Injector,
        prober: Prober,
        sinks: Iterable[Sink] = (),
        kill_switch: KillSwitch | None = None,
    ) -> None:
        self.scenario, self.header = scenario, header
        self.clock, self.injector = clock, injector
        self.interrupted_by = Cause.INTERRUPTED  # the shell's word for what interrupts this run
        self.recorder = Recorder(scenario, policy, clock, sinks)
        self.baseline = Baseline(scenario, clock, prober, self.recorder)
        self.exposer = Exposer(scenario, clock, injector, self.baseline, self.recorder, kill_switch)
        self._path_seen = False  # normal, since the last fault was taken off
        self._hurried = False

    @property
    def campaign(self) -> Campaign:
        """All that is known now."""
        return self.recorder.campaign

    # --- the run ----------------------------------------------------------------------------------

    async def run(self) -> Campaign:
        """Run to the end, whatever it is; returns the campaign with `stopped` set."""
        try:
            self.recorder.record(self.header)
            async with self.injector.paths() as self.baseline.clean_via:
                over = await self._ended(self._to_the_end())
                await self.injector.take_off()
                cleanness = await self._verify_clean()
        except (ChaosbanditError, asyncio.CancelledError) as error:
            over, cleanness = self._over(error), self._unverified(error)
        self._record_end(over, cleanness)
        return self.campaign

    async def _to_the_end(self) -> Over:
        pulled = await self.exposer.pulled()
        if pulled is not None:
            return Over(Cause.FROZEN, pulled)
        await self.baseline.steady_state()
        while True:
            self._let_evidence_expire()
            decided = self.recorder.decide(unresolved=0)
            self.recorder.record(decided)
            decision = decided.decision
            if isinstance(decision, Stop):
                await self._leave_path()
                return Over(*stopped_for(self.campaign, decision))
            self._give_up_after_a_cut()
            self._path_seen = False
            pulled = await self.exposer.pulled() or await self.exposer.expose(decided.n, decision)
            if pulled is not None:
                return Over(Cause.FROZEN, pulled)
            self._give_up_on_instruments()
            spent = self._spent()
            if spent is not None:
                return spent
            self._allow_for_clumps()

    async def _leave_path(self) -> None:
        """Nothing of ours is on the path any more, and requests through it say so."""
        await self.injector.take_off()
        if any(bracket(climb).broke is not None for climb in climbs(self.campaign)):
            await self.baseline.still_steady()
            self._path_seen = True
        elif self.campaign.exposures:
            n = self.campaign.exposures[-1].n
            self._path_seen = (await self.baseline.wash_out(n, VERIFY_S)).back

    def _let_evidence_expire(self) -> None:
        now_s = self.clock.now_s()
        why = judge.expired(self.campaign, now_s)
        if why is not None:
            self.recorder.record(EvidenceExpired(why, now_s))

    def _allow_for_clumps(self) -> None:
        """Failures in longer clumps than the evidence allows for: weigh it anew and go on."""
        clump = judge.clumped(self.campaign)
        if clump:
            self.recorder.record(BlockRaised(4 * clump, clump, self.clock.now_s()))

    def _spent(self) -> Over | None:
        """A path that could not be looked at for want of budget says nothing of the target."""
        if self.campaign.washouts_failed and self.campaign.budget_left() < 1:
            return Over(
                Cause.BUDGET,
                "the error budget of this run was spent before the path could be seen to be back "
                "to normal; raise budget.spend, or see why it takes so long to recover",
            )
        return None

    def _give_up_after_a_cut(self) -> None:
        """Users were hurt by us once: whatever made Toxiproxy hang is still there."""
        if self.injector.aftermath().cuts:
            raise ToxiproxyError(
                "Toxiproxy did not answer when a fault was to come off, so the proxy was closed, "
                "with all its connections, and opened again; nothing more is injected",
                do="see why it hangs (clients that give up or do not read, another tool that "
                "deletes toxics), and look at its connections",
            )

    def _give_up_on_instruments(self) -> None:
        """Several void exposures, or a target that does not recover: no answer can come of this."""
        validity = self.campaign.exposures[-1].validity
        why = validity.why if validity else "unknown"
        if self.campaign.washouts_failed and self.campaign.budget_left() >= 1:
            raise TargetError(
                "the target did not come back to normal within 2 times "
                f"{self.scenario.timing.washout_s:g} s after an exposure ({why})",
                do="see whether it is alive, look at its recovery (pools, queues, breakers) or "
                "raise timing.washout",
            )
        drift = judge.control_drifted(self.campaign)
        if drift is not None:
            raise TargetError(f"the control route, which no fault touches, missed {drift}")
        if self.campaign.voids_in_a_row >= VOIDS_ALLOWED:
            raise HarnessError(
                f"{VOIDS_ALLOWED} exposures in a row could not be used, the last one because: {why}"
            )

    # --- the end ----------------------------------------------------------------------------------

    async def _ended(self, work: Awaitable[Over]) -> Over:
        """Any way out of `work` as the run's end, so that the data path can still be verified."""
        try:
            return await work
        except (ChaosbanditError, asyncio.CancelledError) as error:
            if _cleanup_failure(error) is not None:
                raise
            return self._over(await self._blamed(error))

    async def _blamed(self, error: BaseException) -> BaseException:
        """The error, unless it blames the target for what the server was short of."""
        if not isinstance(error, SteadyStateError | TargetError):
            return error
        short = await self.injector.short()
        return error if short is None else ToxiproxyError(f"{short}. Seen then: {error}")

    def _over(self, error: BaseException) -> Over:
        uncleaned = _cleanup_failure(error)
        if uncleaned is not None:
            return Over(Cause.NOT_CLEAN, str(uncleaned))
        if isinstance(error, ChaosbanditError):
            cause = next((to for kind, to in CAUSES if isinstance(error, kind)), Cause.INTERNAL)
            return Over(cause, str(error))
        task = asyncio.current_task()
        self._hurried = task is not None and task.cancelling() > 1  # a second Ctrl-C
        while task is not None and task.cancelling():
            task.uncancel()
        return Over(self.interrupted_by, "interrupted by the operator")

    def _record_end(self, over: Over, cleanness: Cleanness) -> None:
        after = self.injector.aftermath()
        beside = [
            f"proxy {name} hung although it was closed, and was deleted and created as it was"
            for name in after.replaced
        ]
        beside += [] if after.watched is None else [after.watched]
        also = (Cause.NOT_CLEAN,) if cleanness.left else ()
        end = ending(self.campaign, over.cause, *also)
        stopped = Stopped(
            reason=over.reason,
            answered=end.answered,
            exit_code=end.exit_code,
            clean=cleanness.verified,
            clean_why=cleanness.why,
            now_s=self.clock.now_s(),
            connections_cut=after.connections_cut,
            notes=tuple(beside),
            cause=over.cause,
        )
        failure = self.recorder.tell(stopped)
        if failure is not None:
            code = ending(self.campaign, over.cause, *also, Cause.HARNESS).exit_code
            reason = f"{failure}; {over.reason}"  # which may end in commands
            self.recorder.fold(replace(stopped, reason=reason, exit_code=code))

    def _unverified(self, error: BaseException) -> Cleanness:
        """What is known of leftovers after an error outside of any exposure's own wash-out."""
        uncleaned = _cleanup_failure(error)
        if uncleaned is not None:
            return Cleanness(False, str(uncleaned), left=True)
        return Cleanness(False, NOT_LOOKED_AT) if self.campaign.exposures else NOTHING_INJECTED

    async def _verify_clean(self) -> Cleanness:
        """Clean is only said after requests through the path were back in the control band."""
        exposures = self.campaign.exposures
        if not exposures:
            return NOTHING_INJECTED
        if self._path_seen:
            return Cleanness(True, BACK)
        others = self.injector.aftermath().others
        if others is not None:
            return Cleanness(False, str(others))
        if self._hurried:
            return Cleanness(False, NOT_LOOKED_AT)
        asked = self._canary_sent()
        try:
            look = await self.baseline.wash_out(exposures[-1].n, VERIFY_S)
        except asyncio.CancelledError as error:
            self._over(error)
            return Cleanness(False, NOT_LOOKED_AT)
        except ChaosbanditError as error:
            return Cleanness(False, f"{NOT_LOOKED_AT}: {error}")
        if look.back:
            return Cleanness(True, BACK)
        if self._canary_sent() == asked:  # no budget left to look with
            return Cleanness(False, NOT_LOOKED_AT)
        short = await self.injector.short()
        if short is not None:
            return Cleanness(False, f"faults removed and read back; {short}")
        return self._not_back(look.enough, look.why)

    def _not_back(self, enough: bool, why: str) -> Cleanness:
        removed = "faults removed and read back"
        if not enough:
            return Cleanness(
                False, f"{removed}; at this rate too few requests came back to tell ({why})"
            )
        if self.campaign.check_well:
            return Cleanness(
                False,
                f"{removed}, and the dependency answers through its proxy as in steady state; the "
                f"canary itself is sick ({why})",
            )
        if self.campaign.control_sick:
            return Cleanness(
                False,
                f"{removed}; the control route fails too, so the data path cannot vouch for it "
                f"({why})",
            )
        return Cleanness(False, f"{removed}, yet the path is sick: {why}", True)

    def _canary_sent(self) -> int:
        tally = self.campaign.tallies.get(Route.CANARY)
        return tally.samples if tally else 0


def longest_s(scenario: Scenario) -> float:
    """No run of the scenario lasts longer than this."""
    limits, timing = scenario.guardrails, scenario.timing
    afterwards_s = scenario.traffic.timeout_s + 2 * timing.washout_s + AFTERWARDS_S
    return scenario.search.max_duration_s + limits.max_exposure_s + afterwards_s


def _cleanup_failure(error: BaseException | None) -> CleanupError | None:
    """The failed clean-up behind an error: it outranks whatever else failed after it."""
    while error is not None and not isinstance(error, CleanupError):
        error = error.__context__
    return error
