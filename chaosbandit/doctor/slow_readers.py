"""What nothing shows beforehand: a client that does not read has a new toxic freeze the server.

Measured on Toxiproxy 2.12.0: a downstream toxic that was added while one connection was not being
read froze it every time; one in the other direction never did.
"""

from __future__ import annotations

from chaosbandit.core.scenario import Scenario
from chaosbandit.doctor.findings import Finding, note
from chaosbandit.doctor.server_answer import ServerAnswer

CHECK = "slow readers"


def findings(shown: ServerAnswer, scenario: Scenario | None) -> list[Finding]:
    """One for a scenario that slows answers down on the operator's proxies.

    Our own server does not freeze; but one that somebody else has started says nowhere that it is
    ours, so only the one that `doctor` started itself is known.
    """
    if scenario is None or scenario.topology.owns_proxy or shown.embedded or shown.proxies is None:
        return []
    ladders = [ladder for ladder in scenario.ladders if ladder.stream == "downstream"]
    if not ladders:
        return []
    names = ", ".join(dict.fromkeys(ladder.proxy for ladder in ladders))
    return [
        note(
            CHECK,
            "a real Toxiproxy freezes when a downstream toxic is added while one connection through"
            " the proxy is not being read (long pushes, slow readers), and nothing shows it"
            " beforehand",
            do=f"see that everybody who is served through {names} reads at once",
        )
    ]
