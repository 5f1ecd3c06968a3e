"""`toxiproxy serve`: the embedded server as a command, started as the real one is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

# Zerolog's names of the levels at which the real server does not say that it starts.
_QUIET_LEVELS = {"warn", "error", "fatal", "panic", "disabled"}

toxiproxy = typer.Typer(
    help="A Toxiproxy-compatible server.", no_args_is_help=True, rich_markup_mode=None
)


@toxiproxy.callback()
def _root() -> None:
    pass


def _version(asked: bool) -> None:
    if asked:
        from chaosbandit.toxiproxy.server.api import VERSION

        typer.echo(f"toxiproxy-server version {VERSION}")
        raise typer.Exit


@toxiproxy.command("serve")
def serve(
    host: Annotated[
        str,
        typer.Option(
            "--host",
            "-host",
            metavar="ADDRESS",
            help="Address of the API. Proxies whose listen has no host (`:8666`) are on 127.0.0.1 "
            "if this is a loopback address, and otherwise, as with the real server, on all "
            "interfaces.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port",
            "-port",
            metavar="N",
            help="Port of the API; 0 takes a free one and prints it.",
            min=0,
            max=65535,
        ),
    ] = 8474,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-config",
            metavar="FILE",
            help="JSON file of proxies to begin with; what is wrong with it is said, no more.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", "-seed", metavar="N", help="Makes toxicity draws and jitter repeatable."
        ),
    ] = None,
    proxy_metrics: Annotated[
        bool,
        typer.Option("--proxy-metrics", "-proxy-metrics", help="Accepted; there are no metrics."),
    ] = False,
    runtime_metrics: Annotated[
        bool,
        typer.Option(
            "--runtime-metrics", "-runtime-metrics", help="Accepted; there are no metrics."
        ),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-version",
            help="Print the version of Toxiproxy it behaves like.",
            callback=_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Serve Toxiproxy's API until Ctrl-C.

    For trying things out, for tests and for compose files: it takes what the real server takes,
    with one dash or two. With LOG_LEVEL=warn or higher it says only what went wrong. Its proxies
    end with it.
    """
    import asyncio

    from chaosbandit.cli.output import show
    from chaosbandit.toxiproxy.server.http import serve as serve_forever

    def ready(bound_host: str, bound_port: int) -> None:
        place = f"[{bound_host}]" if ":" in bound_host else bound_host
        if os.environ.get("LOG_LEVEL", "").lower() not in _QUIET_LEVELS:
            show(f"toxiproxy listening on http://{place}:{bound_port}\n")

    if proxy_metrics or runtime_metrics:
        typer.echo("toxiproxy: metrics are not offered, /metrics answers 404", err=True)
    asyncio.run(serve_forever(host, port, seed=seed, config=config, ready=ready))
