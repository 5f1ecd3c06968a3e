"""`toxiproxy serve`: the embedded server as a command."""

from __future__ import annotations

from typing import Annotated

import typer

toxiproxy = typer.Typer(
    help="A Toxiproxy-compatible server.", no_args_is_help=True, rich_markup_mode=None
)


@toxiproxy.callback()
def _root() -> None:
    pass


@toxiproxy.command("serve")
def serve(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address of the API.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            metavar="N", help="Port of the API; 0 takes a free one and prints it.", min=0, max=65535
        ),
    ] = 8474,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Makes toxicity draws and jitter repeatable.", min=0),
    ] = None,
) -> None:
    """Serve Toxiproxy's API until Ctrl-C.

    For trying things out and for tests, where no Toxiproxy is installed. Its proxies end with it.
    """
    import asyncio

    from chaosbandit.cli.output import show
    from chaosbandit.toxiproxy.server.http import serve as serve_forever

    def ready(bound_host: str, bound_port: int) -> None:
        place = f"[{bound_host}]" if ":" in bound_host else bound_host
        show(f"toxiproxy listening on http://{place}:{bound_port}\n")

    asyncio.run(serve_forever(host, port, seed=seed, ready=ready))
