"""Takes one fault away and says so only when the server shows it gone.

    close ours, enable the operator's, delete ours --> the operator's is missing: create it
                   ^                                            |
                   |                                   read both back --as wanted--> done
                   +----------- not as wanted: once more -------+
    too late: CleanupError with the commands; the guard uses the operator's bypass

Each round looks at the server instead of remembering what was done, so it does not matter how far
the injection came, whether the server was restarted, or which call hung. Never `/reset`, never a
bare toxic: a real server can freeze on either while connections live.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from chaosbandit.core.model import Fault
from chaosbandit.core.remedies import manual_commands
from chaosbandit.core.scenario import Proxy
from chaosbandit.errors import CleanupError, ToxiproxyError
from chaosbandit.toxiproxy.adapter import PythonToxiproxy
from chaosbandit.toxiproxy.client import ToxiproxyClient
from chaosbandit.toxiproxy.preflight import departures

CLEANUP_S = 5.0
_PAUSE_S = 0.1
_DEAD_S = 3.0  # a loopback server that refuses all this while is gone
_CALL_OR_NUMBER = re.compile(r"\b(GET|POST|DELETE) \S+|(?<=not answer ).*(?= within )|\d+")


@dataclass(slots=True)
class Removal:
    """How one fault is undone on one server."""

    fault: Fault
    package: PythonToxiproxy
    client: ToxiproxyClient
    local: bool  # the server runs on this host
    refused_from_s: float | None = None  # since when nobody listens at the API

    async def run(self, within_s: float = CLEANUP_S) -> None:
        """Return when the fault is gone and the operator's proxy is back.

        Raises:
            CleanupError: not confirmed in time; carries the commands that do it by hand.
        """
        found: list[str] = []
        before: list[str] = []
        try:
            async with asyncio.timeout(within_s):
                while not await self._round(found):
                    found, before = [], found
                    await asyncio.sleep(_PAUSE_S)
        except TimeoutError:
            trouble = [*before, *found] or ["the server gave no answer"]  # this round was cut off
            raise CleanupError(
                f"could not confirm within {within_s:g} s that {self.fault.name} is gone from "
                f"{self.client.url} ({'; '.join(_one_a_kind(trouble))}). Until it is, its toxics "
                "may act on real traffic. Run `chaosbandit clean`, or by hand:",
                manual_commands(self.fault),
            ) from None

    async def _round(self, trouble: list[str]) -> bool:
        """One attempt; whether the server shows all as before the fault, and what it met else."""
        for step in (self._close_ours, self._delete_ours, self._put_back):
            try:
                await step()
            except Exception as error:  # whatever it was, the rest of the removal goes on
                trouble.append(str(error) or repr(error))
                if not isinstance(error, ToxiproxyError) or error.status is None:
                    break  # it hangs: rather look than wait for the next call, too
        try:
            left = await self._left()
        except ToxiproxyError as error:
            trouble.append(str(error))
            return await self._died_with_its_faults(error)
        trouble += left
        return not left

    async def _close_ours(self) -> None:
        """In `canary` the operator's is enabled with next to nothing in between, or not at all."""
        if self.fault.restores is None:
            await self.package.close(self.fault.name)
        else:
            await self.package.enable_instead_of_frozen(self.fault.restores, self.fault.name)

    async def _delete_ours(self) -> None:
        """Deleting a frozen proxy would freeze the whole API: it must answer first."""
        if await self.client.proxy(self.fault.name) is not None:
            await self.package.destroy(self.fault.name)

    async def _put_back(self) -> None:
        """The operator's proxy could not be enabled where it no longer exists."""
        fault = self.fault
        if fault.restores is not None and await self.client.proxy(fault.restores) is None:
            await self.client.create(fault.restores, fault.listen, fault.upstream)

    async def _left(self) -> list[str]:
        left = []
        if await self.client.proxy(self.fault.name) is not None:
            left.append(f"{self.fault.name} still exists")
        if self.fault.restores is not None:
            wanted = Proxy(self.fault.restores, self.fault.upstream, self.fault.listen)
            left += await departures(await self.client.proxy(wanted.name), wanted)
        return left

    async def _died_with_its_faults(self, error: ToxiproxyError) -> bool:
        """Proxies live in memory only: where nobody listens any more, none of ours is left.

        A port that is forwarded may open again, so it must be closed for a while, and ours as well.
        """
        if not is_refused(error):
            self.refused_from_s = None
            return False
        now_s = time.monotonic()
        self.refused_from_s = self.refused_from_s or now_s
        if not self.local or self.fault.restores is not None:
            return False
        return now_s - self.refused_from_s >= _DEAD_S and await _is_closed(self.fault.listen)


def is_refused(error: BaseException | None) -> bool:
    """Whether a connection was refused, somewhere behind what libraries made of it."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_refused(each) for each in error.exceptions)
    if error is None or isinstance(error, ConnectionRefusedError):
        return error is not None
    return is_refused(error.__cause__ or error.__context__)


async def _is_closed(listen: str) -> bool:
    host, _, port = listen.rpartition(":")
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    return False


def _one_a_kind(sentences: Iterable[str]) -> list[str]:
    """Three calls that hang are one thing to know; the last of them tells it."""
    return list({_CALL_OR_NUMBER.sub("", sentence): sentence for sentence in sentences}.values())
