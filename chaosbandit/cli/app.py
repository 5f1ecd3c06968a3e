"""The tree of commands. Bodies import what they need, so that `--help` stays instant."""

from __future__ import annotations

import typer

from chaosbandit.cli import clean, demo, doctor, plan, run, toxiproxy_serve, validate

app = typer.Typer(
    name="chaosbandit",
    help=(
        "Find how much latency, or how many errors, a dependency may show before users notice more "
        "than the error budget allows."
    ),
    epilog=(
        "Exit codes: 0 answered, 1 internal error, 2 usage or scenario, 3 a require gate is "
        "certified to fail, 4 inconclusive or a gate undecided, 5 stopped by a guardrail, a limit "
        "or the budget, 6 target or Toxiproxy not usable, 7 clean-up not confirmed, "
        "130/143 interrupted."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from chaosbandit._version import __version__

        typer.echo(f"chaosbandit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", "-V", help="Print the version.", callback=_version, is_eager=True
    ),
) -> None:
    pass


app.command("demo")(demo.demo)
app.command("plan")(plan.plan)
app.command("run")(run.run)
app.command("validate")(validate.validate)
app.command("schema")(validate.schema)
app.command("doctor")(doctor.doctor)
app.command("clean")(clean.clean)
app.add_typer(toxiproxy_serve.toxiproxy, name="toxiproxy")
