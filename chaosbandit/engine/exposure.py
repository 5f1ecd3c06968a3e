"""One exposure, top to bottom:

inject: written down, watched, put on, read back
-> Sending (warm up, measure, drain) -> read back -> softened
-> wash-out, and a second look where the target is slow to recover -> judge -> ExposureEnded
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from chaosbandit.core import judge
from chaosbandit.core.events import ExposureEnded, ExposureStarted, Observed
from chaosbandit.core.model import Expose, Health, Route, Validity
from chaosbandit.core.scenario import Scenario
from chaosbandit.core.steady_state import Look
from chaosbandit.engine.baseline import Baseline
from chaosbandit.engine.recorder import Recorder
from chaosbandit.engine.sending import Batch, Sending
from chaosbandit.errors import ChaosbanditError, CleanupError, TargetError, ToxiproxyError
from chaosbandit.faults.softening import let_go_s
from chaosbandit.ports import Clock, Injected, Injector, KillSwitch

EDITS_ALLOWED = 2  # exposures in a row in which others changed the proxy or our toxics


class Exposer:
    """Carries decisions to expose out; remembers only how often others disturbed it in a row."""

    def __init__(
        self,
        scenario: Scenario,
        clock: Clock,
        injector: Injector,
        baseline: Baseline,
        recorder: Recorder,
        kill_switch: KillSwitch | None,
    ) -> None:
        self.scenario, self.clock, self.injector = scenario, clock, injector
        self.baseline, self.recorder, self.kill_switch = baseline, recorder, kill_switch
        self._edits = 0

    async def expose(self, number: int, decision: Expose) -> str | None:
        """One exposure; returns why the kill switch was pulled, if it was: the fault is gone then.

        Raises:
            TargetError: it refuses us as a client.
            ToxiproxyError: others closed the path, or change it again and again.
            CleanupError: the end of the fault could not be confirmed.
        """
        n, variant = len(self.recorder.campaign.exposures) + 1, decision.variant
        fault, now_s = self.injector.plan(variant), self.clock.now_s()
        mix = self.baseline.mix(variant.proxy)
        sending = Sending(self.clock, self.recorder, mix, Batch(number, decision), now_s)
        validity, health = Validity(False, "interrupted"), Health()
        try:
            started = ExposureStarted(
                n, variant.arm, variant.severity, fault.name, now_s, variant.ladder
            )
            self.recorder.record(started)
            async with self.injector.inject(fault) as injected:
                sending.started_s = self.clock.now_s()
                stream = self.baseline.stream(sending.feed, sending.receive, {})
                pulled = await self._until_pulled(stream)
                edited = None if pulled is not None else await self._read_back(injected)
                edited = edited or await self.injector.short()
                injected.nobody_gave_up = self._nobody_gave_up(sending)
                if pulled is None and edited is None and not injected.nobody_gave_up:
                    pulled = await self._until_pulled(self.clock.sleep(let_go_s(fault.toxics)))
            health = self.baseline.prober.health()
            if pulled is not None:
                validity = Validity(False, pulled)
                return pulled
            if edited is not None:
                validity = Validity(False, edited)
                self._give_up_on_others(edited)
            validity = self._judged(sending, health, edited, await self._recovered(n))
        except ChaosbanditError as error:
            unclean = isinstance(error, CleanupError)  # the run ends with its whole text
            validity = Validity(False, "removal not confirmed" if unclean else str(error))
            raise
        finally:
            self._end(n, sending, validity, health)
        if sending.refused is not None:
            raise TargetError(sending.refused)
        return None

    async def pulled(self) -> str | None:
        """Why nothing may be injected now, or None."""
        return None if self.kill_switch is None else await self.kill_switch.pulled()

    async def _recovered(self, n: int) -> Look:
        """The wash-out; a sick target gets a second look, not a fault."""
        look = await self.baseline.wash_out(n, self.scenario.timing.washout_s)
        if look.back or self.recorder.campaign.budget_left() < 1:
            return look
        return await self.baseline.wash_out(n, self.scenario.timing.washout_s)

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
        campaign = self.recorder.campaign
        current, unresolved = campaign.current, sending.order.unresolved(Route.CANARY)
        return current is not None and not unresolved and judge.patient(campaign, current)

    async def _read_back(self, injected: Injected) -> str | None:
        """What is not as it was put on: then nothing measured since is evidence of anything."""
        try:
            found = "; ".join(await injected.read_back())
        except ToxiproxyError as error:
            found = str(error)
        self._edits = self._edits + 1 if found else 0
        return f"the fault was disturbed by others: {found}" if found else None

    def _give_up_on_others(self, edited: str) -> None:
        """A path that others have closed, or one that they change again and again."""
        others = self.injector.aftermath().others
        if others is not None:
            raise ToxiproxyError(others)
        if self._edits >= EDITS_ALLOWED:
            raise ToxiproxyError(
                f"{edited}, {self._edits} times in a row",
                do="see who else works on this proxy (another tool, a test's clean-up, a restart "
                "of Toxiproxy), then run again",
            )

    def _judged(
        self, sending: Sending, health: Health, edited: str | None, recovery: Look
    ) -> Validity:
        """What was measured came before the recovery, so a slow one costs time, not evidence."""
        if edited is not None:
            return Validity(False, edited, blind=True)
        if sending.refused is not None:  # the answers were to us, not to the dose
            return Validity(False, sending.refused)
        if not recovery.back:
            return Validity(False, f"no wash-out: {recovery.why}", beliefs_stay=True)
        campaign = self.recorder.campaign
        assert campaign.current is not None
        return judge.validity(campaign, campaign.current, health, lost=0)

    def _end(self, n: int, sending: Sending, validity: Validity, health: Health) -> None:
        """Record what was still held back and how the exposure ended, whatever happened in it."""
        tell = self.recorder.tell
        failures = [
            tell(Observed(phase, number, (sample,)))
            for (phase, number), sample in sending.order.rest()
        ]
        campaign = self.recorder.campaign
        current = campaign.current
        assert current is not None
        ended = ExposureEnded(
            n=n,
            arm=current.arm,
            validity=validity,
            dose=judge.dose(campaign, current),
            health=health,
            lost=sending.order.unresolved(Route.CANARY),
            halted=sending.halted,
            now_s=self.clock.now_s(),
        )
        for failure in (*failures, tell(ended)):
            if failure is not None:
                raise failure
