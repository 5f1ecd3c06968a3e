"""What `demo` runs on: inventory, two storefronts and a Toxiproxy, each a process.

    prober -> storefront canary  -> proxy `inventory` -> inventory
    prober -> storefront control ----------------------^

Nothing here knows where the storefront breaks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import chaosbandit
from chaosbandit.cli.child_processes import child, embedded_toxiproxy
from chaosbandit.errors import ToxiproxyError, UsageError
from chaosbandit.scenario import Loaded, load
from chaosbandit.toxiproxy import adapter
from chaosbandit.toxiproxy.calls import Calls
from chaosbandit.toxiproxy.error_words import told
from chaosbandit.toxiproxy.listing import one_proxy

PROXY = "inventory"
LOCAL = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Stage:
    """The demo's world while it stands."""

    server: str  # URL of the Toxiproxy API
    scenario_file: Path
    environment: Mapping[str, str]  # what the scenario file's variables expand to

    def loaded(self) -> Loaded:
        """The demo scenario with the ports of this stage."""
        return load(self.scenario_file, {**os.environ, **self.environment})


@contextmanager
def standing(server: str | None, seed: int | None = None) -> Iterator[Stage]:
    """Start everything the demo needs and stop it at the end, whatever happens in between.

    `seed` makes the services' own service times and retry pauses repeatable.
    """
    folder = demo_folder()
    chance = [] if seed is None else ["--seed", str(seed)]
    with ExitStack() as stack:
        url = server or stack.enter_context(embedded_toxiproxy())
        inventory = _address(stack.enter_context(_service(folder, "inventory.py", chance)))
        listen = stack.enter_context(_operators_proxy(url, inventory))
        control, canary = (
            _address(stack.enter_context(_service(folder, "storefront.py", [*chance, *wired])))
            for wired in (
                ("--name", "control", "--inventory", inventory),
                ("--name", "canary", "--inventory", listen),
            )
        )
        environment = {
            "CB_DEMO_TOXIPROXY": url,
            "CB_DEMO_INVENTORY": inventory,
            "CB_DEMO_LISTEN": listen,
            "CB_DEMO_CONTROL": control,
            "CB_DEMO_CANARY": canary,
        }
        yield Stage(url, folder / "slow-inventory.yaml", environment)


def demo_folder() -> Path:
    """Where the sample services are: in the wheel, or in the repository."""
    package = Path(chaosbandit.__file__).parent
    for folder in (package / "_demo", package.parent / "scenarios" / "demo"):
        if (folder / "storefront.py").exists():
            return folder
    raise UsageError(
        f"the demo's services are not installed beside {package}; reinstall chaosbandit"
    )


@contextmanager
def _service(folder: Path, script: str, options: Sequence[str]) -> Iterator[str]:
    command = [sys.executable, str(folder / script), "--host", LOCAL, "--port", "0"]
    with child([*command, *options, "--exit-with-stdin"], f"the demo's {script}") as url:
        yield url


@contextmanager
def _operators_proxy(server: str, upstream: str) -> Iterator[str]:
    """The proxy the canary storefront is wired to, as an operator would have made it."""
    calls = Calls(server)
    try:
        listen = _create(calls, upstream)
    except SystemExit:  # a signal, and it may exist by now
        _take_down(calls)
        calls.close()
        raise
    try:
        yield listen
    finally:
        _take_down(calls)
        calls.close()


def _take_down(calls: Calls) -> None:
    """What a run found out outranks a server that died on us."""
    try:
        with told(calls.url):
            adapter.destroy(calls, PROXY)
    except ToxiproxyError as error:
        sys.stderr.write(f"chaosbandit: the demo's own proxy {PROXY!r} may be left: {error}\n")


def _create(calls: Calls, upstream: str) -> str:
    try:
        with told(calls.url):
            adapter.create(calls, PROXY, f"{LOCAL}:0", upstream)
            made = one_proxy(calls, PROXY)
    except ToxiproxyError as error:
        if error.status != 409:
            raise
        raise ToxiproxyError(
            f"{calls.url} already has a proxy named {PROXY!r}, which the demo would create; use "
            "another server, or delete it if it is a leftover of an earlier demo: "
            f"curl -X DELETE {calls.url}/proxies/{PROXY}",
            error.status,
        ) from error
    if made is None:
        raise ToxiproxyError(f"{calls.url} no longer shows the proxy {PROXY!r} it created")
    return made.listen


def _address(url: str) -> str:
    return urlsplit(url).netloc
