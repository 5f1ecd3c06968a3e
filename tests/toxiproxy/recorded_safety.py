"""A `ports.Safety` that remembers what it was told, and notes calls it was not told of."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote

from chaosbandit.errors import CleanupError, HarnessError
from chaosbandit.faults.fault import Fault, Late
from chaosbandit.ports import Safety


class RecordedSafety:
    """Keeps what it is told and the calls it is shown in `log`, in their order."""

    def __init__(self, refuses: HarnessError | None = None) -> None:
        self.refuses = refuses
        self.log: list[str] = []
        self.armed: dict[str, Fault] = {}
        self.rests: dict[str, bool] = {}
        self.struck: list[tuple[Fault, Late | None]] = []
        self.failures: list[tuple[Fault, CleanupError]] = []
        self.faults_found: list[str] = []  # in the calls it was shown

    async def arm(self, fault: Fault) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.log.append(f"armed {fault.name}")
        self.armed[fault.name], self.rests[fault.name] = fault, False

    def resting(self, fault: Fault, rests: bool) -> None:
        self._known(fault, "resting")
        self.rests[fault.name] = rests

    async def strike(self, fault: Fault, late: Late | None = None) -> None:
        self._known(fault, "struck")
        self.log.append(f"struck {fault.name}")
        self.struck.append((fault, late))
        self.armed.pop(fault.name, None)
        self.rests.pop(fault.name, None)

    async def failed(self, fault: Fault, error: CleanupError) -> CleanupError:
        self._known(fault, "failed")
        self.log.append(f"failed {fault.name}")
        self.failures.append((fault, error))
        found = f"{error.trouble.found}; the watchdog goes on"
        return CleanupError(replace(error.trouble, found=found))

    def watched(self) -> str | None:
        return "watched" if any(late is not None for _, late in self.struck) else None

    def see(self, method: str, path: str, body: str) -> None:
        """A call arrives at the server, or its answer leaves there."""
        self.log.append(f"{method} {path}")
        if method == "GET":
            return
        about = [fault for fault in self.armed.values() if _is_about(fault, unquote(path), body)]
        if not about:
            self.faults_found.append(f"{method} {path} {body}: about nothing that is armed")
        if about and all(self.rests[fault.name] for fault in about):
            self.faults_found.append(f"{method} {path} {body}: while its faults rest")

    def _known(self, fault: Fault, what: str) -> None:
        if fault.name not in self.armed:
            self.faults_found.append(f"{what} {fault.name}, which is not armed")


def _is_about(fault: Fault, path: str, body: str) -> bool:
    toxics = f"/proxies/{fault.proxy}/toxics"
    if path.startswith(toxics):
        return any(toxic.name in (path + body) for toxic in fault.toxics)
    stand_in = f"cb-standin.{fault.run}.{fault.expires_epoch_s}.{fault.proxy}"
    return any(name in (path + body) for name in (fault.proxy, stand_in))


_: type[Safety] = RecordedSafety
