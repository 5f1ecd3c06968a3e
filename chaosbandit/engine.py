"""The loop: decide, record, inject, probe, judge, record. Nothing else.

One exposure, top to bottom:

    _decide -> _expose -> inject: written down, watched, put on, read back
                       -> Sending (warm up, measure, drain) -> read back -> softened
                       -> wash_out -> judge -> ExposureEnded

Every event is recorded (journal first) before it is acted on. Time comes from the `Clock`, chance
from the header's seed, so the same loop runs on `chaosbandit.sim` and a journal replays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any

from chaosbandit.core import guardrail, judge
from chaosbandit.core.campaign import (
    Campaign,
    Decided,
    Event,
    EvidenceExpired,
    ExposureEnded,
    ExposureStarted,
    Observed,
    RunStarted,
    Stopped,
    apply,
)
from chaosbandit.core.model import (
    Decision,
    Expose,
    Health,
    Route,
    Stop,
    Validity,
    Variant,
)
from chaosbandit.core.policies import Policy
from chaosbandit.core.replay import decide, opening
from chaosbandit.core.scenario import Scenario
from chaosbandit.errors import (
    ChaosbanditError,
    CleanupError,
    Exit,
    HarnessError,
    TargetError,
    ToxiproxyError,
)
from chaosbandit.faults.softening import let_go_s
from chaosbandit.ports import Clock, Injected, Injector, KillSwitch, Prober, Sink
from chaosbandit.probing import Probing
from chaosbandit.sending import Batch, Sending

AFTERWARDS_S = 60  # spare time of a run for what may come after its last exposure
VERIFY_S = 5.0  # longest look at the data path after an interrupted or failed run
VOIDS_ALLOWED = 3  # void exposures in a row before the run gives up
WASHOUTS_ALLOWED = 2  # wash-outs in a row that did not come back
EDITS_ALLOWED = 2  # exposures in a row in which others changed the proxy or our toxics


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a run is over and what it returns to the shell."""

    reason: str
    exit_code: Exit
    answered: bool = False


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
        self.scenario, self.policy, self.header = scenario, policy, header
        self.clock, self.injector, self.prober = clock, injector, prober
        self.sinks, self.kill_switch = tuple(sinks), kill_switch
        self.campaign = opening(scenario)
        self.interrupt_exit = Exit.SIGINT  # the shell's word for what interrupts this run
        self._probing = Probing(scenario, clock, prober, lambda: self.campaign, self._record)
        self._path_seen = False  # normal, since the last fault was taken off
        self._edits = 0  # exposures in a row that others disturbed
        self._hurried = False

    # --- the run ----------------------------------------------------------------------------------

    async def run(self) -> Campaign:
        """Run to the end, whatever it is; returns the campaign with `stopped` set."""
        try:
            self._record(self.header)
            async with self.injector.paths() as self._probing.clean_via:
                ending = await self._ended(self._to_the_end())
                await self.injector.take_off()
                cleanness = await self._verify_clean()
        except (ChaosbanditError, asyncio.CancelledError) as error:
            ending, cleanness = self._as_ending(error), self._unverified(error)
        self._record_end(ending, cleanness)
        return self.campaign

    def _record_end(self, ending: Ending, cleanness: Cleanness) -> None:
        after = self.injector.aftermath()
        beside = [
            f"proxy {name} hung although it was closed, and was deleted and created as it was"
            for name in after.replaced
        ]
        beside += [] if after.watched is None else [after.watched]
        stopped = Stopped(
            reason=ending.reason,
            answered=ending.answered,
            exit_code=Exit.NOT_CLEAN if cleanness.left else ending.exit_code,
            clean=cleanness.verified,
            clean_why=cleanness.why,
            now_s=self.clock.now_s(),
            connections_cut=after.connections_cut,
            notes=tuple(beside),
        )
        failure = self._tell(stopped)
        if failure is not None and not cleanness.left:
            reason = f"{ending.reason}; {failure}"
            unrecorded = replace(stopped, reason=reason, exit_code=failure.exit_code)
            self.campaign = apply(self.campaign, unrecorded)

    async def _ended(self, work: Awaitable[Ending]) -> Ending:
        """Any way out of `work` as an ending, so that the data path can still be verified."""
        try:
            return await work
        except (ChaosbanditError, asyncio.CancelledError) as error:
            if _cleanup_failure(error) is not None:
                raise
            return self._as_ending(error)

    def _as_ending(self, error: BaseException) -> Ending:
        uncleaned = _cleanup_failure(error)
        if uncleaned is not None:
            return Ending(str(uncleaned), uncleaned.exit_code)
        if isinstance(error, ChaosbanditError):
            return Ending(str(error), error.exit_code)
        task = asyncio.current_task()
        self._hurried = task is not None and task.cancelling() > 1  # a second Ctrl-C
        while task is not None and task.cancelling():
            task.uncancel()
        return Ending("interrupted by the operator", self.interrupt_exit)

    def _unverified(self, error: BaseException) -> Cleanness:
        """What is known of leftovers after an error outside of any exposure's own wash-out."""
        uncleaned = _cleanup_failure(error)
        if uncleaned is not None:
            return Cleanness(False, str(uncleaned), left=True)
        return Cleanness(False, NOT_LOOKED_AT) if self.campaign.exposures else NOTHING_INJECTED

    async def _to_the_end(self) -> Ending:
        pulled = await self._pulled()
        if pulled is not None:
            return Ending(pulled, Exit.GUARDRAIL)
        await self._probing.steady_state()
        while True:
            self._let_evidence_expire()
            decided = self._decide(unresolved=0)
            self._record(decided)
            if isinstance(decided.decision, Stop):
                await self._leave_path()
                return self._stop(decided.decision)
            self._give_up_after_a_cut()
            pulled = await self._pulled() or await self._expose(decided.n, decided.decision)
            if pulled is not None:
                return Ending(pulled, Exit.GUARDRAIL)
            if self.campaign.washouts_failed:  # a sick target gets a second look, not a fault
                last = self.campaign.exposures[-1].n
                await self._probing.wash_out(last, self.scenario.timing.washout_s)
            self._give_up_on_instruments()
            clump = judge.clumped(self.campaign)
            if clump:
                return self._clumped(clump)

    async def _leave_path(self) -> None:
        """Nothing of ours is on the path any more, and requests through it say so."""
        await self.injector.take_off()
        if any(judge.bracket(each).broke is not None for each in self.campaign.each()):
            await self._probing.still_steady()
            self._path_seen = True
        elif self.campaign.exposures:
            n = self.campaign.exposures[-1].n
            self._path_seen, _ = await self._probing.wash_out(n, VERIFY_S)

    def _let_evidence_expire(self) -> None:
        now_s = self.clock.now_s()
        why = judge.expired(self.campaign, now_s)
        if why is not None:
            self._record(EvidenceExpired(why, now_s))

    def _decide(self, unresolved: int) -> Decided:
        """The next decision; recorded by whoever carries it out."""
        return decide(self.policy, self.campaign, unresolved, self.clock.now_s())

    def _clumped(self, run: int) -> Ending:
        reason = (
            f"failures came in clumps: {run} bad requests in a row where most were good, which "
            f"evidence in blocks of {self.campaign.certificate.block} cannot carry; repeat with "
            f"search.block: {4 * run}"
        )
        return Ending(reason, Exit.INCONCLUSIVE)

    def _stop(self, decision: Stop) -> Ending:
        if decision.by_guardrail:
            return Ending(decision.reason, Exit.GUARDRAIL)
        unused = [each.ladder for each in self.campaign.each() if not judge.exercised(each)]
        if unused:
            of = f" for {unused[0].name}" if len(self.campaign.climbs) > 1 else ""
            reason = (
                f"path not exercised{of}: doses arrived at the dependency and no request felt "
                "them; the traffic's URL may be served without it (a cache, a fallback, another "
                "route)"
            )
            return Ending(reason, Exit.INCONCLUSIVE)
        bumps = [bump for each in self.campaign.each() for bump in judge.bumps(each)]
        if bumps:
            reason = (
                f"not monotone: {'; '.join(bumps)}; a breaking point says little here, see what "
                "changes between them (a time-out with a fallback, a breaker, a cache)"
            )
            return Ending(reason, Exit.INCONCLUSIVE)
        if any(judge.gate(each) is False for each in self.campaign.each()):
            return Ending(decision.reason, Exit.GATE_FAILED, decision.answered)
        code = Exit.ANSWERED if decision.answered else Exit.INCONCLUSIVE
        return Ending(decision.reason, code, decision.answered)

    # --- one exposure -----------------------------------------------------------------------------

    async def _expose(self, number: int, decision: Expose) -> str | None:
        """Inject, warm up, measure, drain, read back, let go, soften, wash out, judge.

        Returns why the kill switch was pulled, if it was: then the fault is gone at once.
        """
        n, now_s = len(self.campaign.exposures) + 1, self.clock.now_s()
        variant = decision.variant
        fault = self.injector.plan(variant)
        self._path_seen = False
        sending = self._sending(Batch(number, decision))
        validity, health = Validity(False, "interrupted"), Health()
        try:
            started = ExposureStarted(
                n, variant.arm, variant.severity, fault.name, now_s, variant.ladder
            )
            self._record(started)
            async with self.injector.inject(fault) as injected:
                sending.started_s = self.clock.now_s()
                stream = self._probing.stream(sending.feed, sending.receive, {})
                pulled = await self._until_pulled(stream)
                edited = None if pulled is not None else await self._read_back(injected)
                injected.nobody_gave_up = self._nobody_gave_up(sending)
                if pulled is None and edited is None and not injected.nobody_gave_up:
                    pulled = await self._until_pulled(self.clock.sleep(let_go_s(fault.toxics)))
            health = self.prober.health()
            if pulled is not None:
                validity = Validity(False, pulled)
                return pulled
            if edited is not None:
                validity = Validity(False, edited)
                self._give_up_on_others(edited)
            back, why = await self._probing.wash_out(n, self.scenario.timing.washout_s)
            if edited is None:
                validity = self._judge(sending, health) if back else _not_back(why)
        except ChaosbanditError as error:
            unclean = isinstance(error, CleanupError)  # the run ends with its whole text
            validity = Validity(False, "removal not confirmed" if unclean else str(error))
            raise
        finally:
            self._end_exposure(n, sending, validity, health)
        if sending.refused is not None:
            raise TargetError(sending.refused)
        return None

    async def _pulled(self) -> str | None:
        return None if self.kill_switch is None else await self.kill_switch.pulled()

    async def _until_pulled(self, stream: Coroutine[Any, Any, None]) -> str | None:
        """See `stream` to its end, unless the kill switch is pulled; then returns why, at once."""
        if self.kill_switch is None:
            await stream
            return None
        sent = asyncio.ensure_future(stream)
        switch = asyncio.ensure_future(self.kill_switch.wait())
        try:
            await asyncio.wait((sent, switch), return_when=asyncio.FIRST_COMPLETED)
            pulled = switch.result() if switch.done() else None
        finally:
            for task in (sent, switch):
                task.cancel()
            await asyncio.gather(sent, switch, return_exceptions=True)
        if pulled is None:
            sent.result()
        return pulled

    def _nobody_gave_up(self, sending: Sending) -> bool:
        current = self.campaign.current
        unresolved = sending.order.unresolved(Route.CANARY)
        return current is not None and not unresolved and judge.patient(self.campaign, current)

    async def _read_back(self, injected: Injected) -> str | None:
        """What is not as it was put on: then nothing measured since is evidence of anything."""
        try:
            found = "; ".join(await injected.read_back())
        except ToxiproxyError as error:
            found = str(error)
        self._edits = self._edits + 1 if found else 0
        return f"the fault was disturbed by others: {found}" if found else None

    def _give_up_after_a_cut(self) -> None:
        """Users were hurt by us once: whatever made Toxiproxy hang is still there."""
        if self.injector.aftermath().cuts:
            raise ToxiproxyError(
                "Toxiproxy did not answer when a fault was to come off, so the proxy was closed, "
                "with all its connections, and opened again; nothing more is injected. See why it "
                "hangs (clients that give up or do not read, another tool that deletes toxics), "
                "and look at its connections"
            )

    def _give_up_on_others(self, edited: str) -> None:
        """A path that others have closed, or one that they change again and again."""
        others = self.injector.aftermath().others
        if others is not None:
            raise ToxiproxyError(others)
        if self._edits >= EDITS_ALLOWED:
            raise ToxiproxyError(
                f"{edited}; {self._edits} times in a row. See who else works on this proxy "
                "(another tool, a test's clean-up, a restart of Toxiproxy), then run again"
            )

    def _sending(self, batch: Batch) -> Sending:
        scenario, timing = self.scenario, self.scenario.timing
        warmup = timing.warmup_samples
        if not guardrail.risky(self.campaign, batch.decision.variant.arm):
            warmup = max(warmup, round(timing.warmup_s * scenario.traffic.rate_per_s))
        return Sending(
            now_s=self.clock.now_s,
            campaign=lambda: self.campaign,
            record=self._record,
            extend=self._extend,
            mix=self._probing.mix(),
            batch=batch,
            started_s=self.clock.now_s(),
            warmup_samples=warmup,
        )

    def _extend(self, unresolved: int, standing: Variant) -> tuple[int, Decision]:
        """Ask again while the variant stands; only a decision to stay is recorded."""
        decided = self._decide(unresolved)
        decision = decided.decision
        if isinstance(decision, Expose) and decision.variant.same_as(standing):
            self._record(decided)
        return decided.n, decision

    def _judge(self, sending: Sending, health: Health) -> Validity:
        if sending.refused is not None:  # the answers were to us, not to the dose
            return Validity(False, sending.refused)
        assert self.campaign.current is not None
        return judge.validity(self.campaign, self.campaign.current, health, lost=0)

    def _end_exposure(self, n: int, sending: Sending, validity: Validity, health: Health) -> None:
        """Record what was still held back and how the exposure ended, whatever happened in it."""
        failures = [
            self._tell(Observed(phase, number, (sample,)))
            for (phase, number), sample in sending.order.rest()
        ]
        current = self.campaign.current
        assert current is not None
        ended = ExposureEnded(
            n=n,
            arm=current.arm,
            validity=validity,
            dose=judge.dose(self.campaign, current),
            health=health,
            lost=sending.order.unresolved(Route.CANARY),
            halted=sending.halted,
            now_s=self.clock.now_s(),
        )
        for failure in (*failures, self._tell(ended)):
            if failure is not None:
                raise failure

    def _give_up_on_instruments(self) -> None:
        """Several void exposures or failed wash-outs in a row: no answer can come of this."""
        validity = self.campaign.exposures[-1].validity
        why = validity.why if validity else "unknown"
        if self.campaign.washouts_failed >= WASHOUTS_ALLOWED:
            raise TargetError(
                f"the target did not come back to normal within "
                f"{WASHOUTS_ALLOWED} times {self.scenario.timing.washout_s:g} s after an exposure "
                f"({why}); see whether it is alive, look at its recovery (pools, queues, "
                "breakers) or raise timing.washout"
            )
        drift = judge.control_drifted(self.campaign)
        if drift is not None:
            raise TargetError(f"the control route, which no fault touches, missed {drift}")
        if self.campaign.voids_in_a_row >= VOIDS_ALLOWED:
            raise HarnessError(
                f"{VOIDS_ALLOWED} exposures in a row could not be used, the last one because: {why}"
            )

    # --- leftovers and records --------------------------------------------------------------------

    async def _verify_clean(self) -> Cleanness:
        """Clean is only said after requests through the path were back in the control band."""
        exposures = self.campaign.exposures
        if not exposures:
            return NOTHING_INJECTED
        if self._path_seen:
            return Cleanness(True, BACK)
        others = self.injector.aftermath().others
        if others is not None:
            return Cleanness(False, others)
        if self._hurried:
            return Cleanness(False, NOT_LOOKED_AT)
        asked = self._canary_sent()
        try:
            back, why = await self._probing.wash_out(exposures[-1].n, VERIFY_S)
        except asyncio.CancelledError as error:
            self._as_ending(error)
            return Cleanness(False, NOT_LOOKED_AT)
        except ChaosbanditError as error:
            return Cleanness(False, f"{NOT_LOOKED_AT}: {error}")
        if back:
            return Cleanness(True, BACK)
        if self._canary_sent() == asked:  # no budget left to look with
            return Cleanness(False, NOT_LOOKED_AT)
        if self.campaign.check_well:
            return Cleanness(
                False,
                "faults removed and read back, and the dependency answers through its proxy as in "
                f"steady state; the canary itself is sick ({why})",
            )
        if self.campaign.control_sick:
            return Cleanness(
                False,
                "faults removed and read back; the control route fails too, so the data path "
                f"cannot vouch for it ({why})",
            )
        return Cleanness(False, f"faults removed and read back, yet the path is sick: {why}", True)

    def _canary_sent(self) -> int:
        tally = self.campaign.tallies.get(Route.CANARY)
        return tally.samples if tally else 0

    def _record(self, event: Event) -> None:
        """Apply first, tell the sinks after: they see the campaign that includes the event."""
        failure = self._tell(event)
        if failure is not None:
            raise failure

    def _tell(self, event: Event) -> ChaosbanditError | None:
        """As `_record`, returning the first failure. A sink that failed hears no more: its record
        ends there, like that of a run that was killed, rather than going on after a gap."""
        self.campaign = apply(self.campaign, event)
        failure: ChaosbanditError | None = None
        for sink in self.sinks:
            try:
                sink.accept(event, self.campaign)
            except ChaosbanditError as error:
                self.sinks = tuple(other for other in self.sinks if other is not sink)
                failure = failure or error
        return failure


def longest_s(scenario: Scenario) -> float:
    """No run of the scenario lasts longer than this."""
    limits = scenario.guardrails
    return scenario.search.max_duration_s + limits.max_exposure_s + _afterwards_s(scenario)


def _afterwards_s(scenario: Scenario) -> float:
    """The longest time from the end of an exposure until all is over, and some more."""
    return scenario.traffic.timeout_s + scenario.timing.washout_s + AFTERWARDS_S


def _not_back(why: str) -> Validity:
    return Validity(False, f"no wash-out: {why}")


def _cleanup_failure(error: BaseException | None) -> CleanupError | None:
    """The failed clean-up behind an error: it outranks whatever else failed after it."""
    while error is not None and not isinstance(error, CleanupError):
        error = error.__context__
    return error
