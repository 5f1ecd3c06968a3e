"""`toxiproxy serve`: the embedded server as a command."""

from __future__ import annotations

from typing import Annotated

import typer

toxiproxy = typer.Typer(
    help="The embedded Toxiproxy-compatible server.", no_args_is_help=True, rich_markup_mode=None
)


@toxiproxy.callback()
def _root() -> None:
    pass


@toxiproxy.command("serve")
def serve(
    host: Annotated[str, typer.Option(help="Address of the API.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(help="Port of the API; 0 takes a free one and prints it.", min=0, max=65535),
    ] = 8474,
    seed: Annotated[
        int | None, typer.Option(help="Makes toxicity draws and jitter repeatable.")
    ] = None,
) -> None:
    """Serve Toxiproxy's API and proxies until Ctrl-C; no Go, no container."""
    import asyncio

    from chaosbandit.toxiproxy.server import serve as serve_forever

    def ready(bound_host: str, bound_port: int) -> None:
        typer.echo(f"toxiproxy listening on http://{bound_host}:{bound_port}")

    asyncio.run(serve_forever(host, port, seed=seed, ready=ready))
