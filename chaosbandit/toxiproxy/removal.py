"""Takes one fault away and says so only when the server shows it gone.

    put the original back, disabled --> delete ours, enable the original --> read both
                  ^                                                            |
                  +---------------- not as wanted: once more ------------------+

Each round looks at the server instead of remembering what was done, so it does not matter how far
the injection came, whether the server was restarted, or which call hung. Never `/reset`, never a
bare toxic: a real server can freeze on either while connections live.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from dataclasses import dataclass

import httpx

from chaosbandit.core.model import Fault
from chaosbandit.core.scenario import Proxy
from chaosbandit.errors import CleanupError, ToxiproxyError
from chaosbandit.toxiproxy.adapter import PythonToxiproxy
from chaosbandit.toxiproxy.client import ToxiproxyClient
from chaosbandit.toxiproxy.preflight import departures

CLEANUP_S = 8.0
_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Removal:
    """How one fault is undone on one server."""

    fault: Fault
    package: PythonToxiproxy
    client: ToxiproxyClient
    local: bool  # the server runs on this host

    async def run(self, within_s: float = CLEANUP_S) -> None:
        """Return when the fault is gone and the operator's proxy is back.

        Raises:
            CleanupError: not confirmed in time; carries the commands that do it by hand.
        """
        trouble = ["the server gave no answer"]
        try:
            async with asyncio.timeout(within_s):
                while True:
                    trouble = await self._round()
                    if not trouble:
                        return
                    await asyncio.sleep(_PAUSE_S)
        except TimeoutError:
            raise CleanupError(
                f"could not confirm within {within_s:g} s that {self.fault.name} is gone from "
                f"{self.client.url} ({'; '.join(trouble)}). Until it is, its toxics may act on "
                "real traffic. Run `chaosbandit clean`, or by hand:",
                manual_commands(self.fault, self.client.url),
            ) from None

    async def _round(self) -> list[str]:
        """One attempt; what is wrong after it, which is nothing once the server shows it clean."""
        trouble = []
        for step in (self._prepare, self._take_away):
            try:
                await step()
            except Exception as error:  # whatever it was, the rest of the removal goes on
                trouble.append(str(error) or repr(error))
        try:
            left = await self._left()
        except ToxiproxyError as error:
            return [] if self._died_with_its_faults(error) else [*trouble, str(error)]
        return [*trouble, *left] if left else []

    async def _prepare(self) -> None:
        """A disabled original does not listen, so it can stand ready while ours still does."""
        fault = self.fault
        if fault.restores is None or await self.client.proxy(fault.restores) is not None:
            return
        await self.client.create(fault.restores, fault.listen, fault.upstream, enabled=False)

    async def _take_away(self) -> None:
        if self.fault.restores is None:
            await self.package.destroy(self.fault.name)
        else:
            await self.package.enable_instead_of_destroyed(self.fault.restores, self.fault.name)

    async def _left(self) -> list[str]:
        left = []
        if await self.client.proxy(self.fault.name) is not None:
            left.append(f"{self.fault.name} still exists")
        if self.fault.restores is not None:
            wanted = Proxy(self.fault.restores, self.fault.upstream, self.fault.listen)
            left += await departures(await self.client.proxy(wanted.name), wanted)
        return left

    def _died_with_its_faults(self, error: ToxiproxyError) -> bool:
        """Proxies live in memory only: where nobody listens any more, none of ours is left."""
        refused = isinstance(error.__cause__, httpx.ConnectError)
        return refused and self.local and self.fault.restores is None


def manual_commands(fault: Fault, url: str) -> tuple[str, ...]:
    """What an operator types to undo the fault; a frozen server answers the first after 25 s."""
    curl = "curl -sS --max-time 40"
    if fault.restores is None:
        return (f"{curl} -X DELETE {url}/proxies/{fault.name}",)
    original = {
        "name": fault.restores,
        "listen": fault.listen,
        "upstream": fault.upstream,
        "enabled": True,
    }
    return (
        f"{curl} -X DELETE {url}/proxies/{fault.name}",
        f"{curl} -X DELETE {url}/proxies/{fault.restores}",  # may be there, disabled
        f"{curl} -X POST {url}/proxies -d {shlex.quote(json.dumps(original))}",
        f"{curl} {url}/proxies/{fault.restores}",
    )
