"""What the scenario and the rules around it ask for; nothing is connected to.

That the file itself is right is known by then: a wrong one is refused before anything is looked at.
"""

from __future__ import annotations

from chaosbandit.core.scenario import Scenario
from chaosbandit.doctor.findings import Finding, fail, note, ok, told_by, warn
from chaosbandit.doctor.what_to_examine import Subject, host_of
from chaosbandit.report.numbers_in_words import plural


def findings(subject: Subject) -> list[Finding]:
    """Validity, gates, rules in force, and whether the targets have to be meant."""
    scenario = subject.scenario
    if scenario is None:
        do = "look at a scenario's target and proxies as well: `chaosbandit doctor FILE`"
        return [note("scenario", "none was named", do=do), rules(subject), *meant(subject)]
    return [described(scenario), gates(scenario), rules(subject), *meant(subject)]


def described(scenario: Scenario) -> Finding:
    """What a run of it could do at most."""
    arms = sum(len(ladder.severities) for ladder in scenario.ladders)
    allowed = min(scenario.budget.allowed(slo) for slo in scenario.slos)
    return ok(
        "scenario",
        f"{scenario.name} is valid: {scenario.topology.name}, "
        f"{arms} severities, at most {plural(allowed, 'bad request')} a run",
    )


def gates(scenario: Scenario) -> Finding:
    """What must hold for exit code 0, if anything."""
    if not scenario.require:
        return ok("gates", "none: a run answers and asks nothing of the answer")
    ladders = {ladder.name: ladder for ladder in scenario.ladders}
    texts = [f"{name} > {ladders[name].text(bound)}" for name, bound in scenario.require.items()]
    return ok("gates", f"a run fails unless {' and '.join(texts)}")


def rules(subject: Subject) -> Finding:
    """The rules files that are in force."""
    if not subject.rules_files:
        return ok("rules", "no rules file is in force")
    return ok("rules", f"in force: {', '.join(map(str, subject.rules_files))}")


def meant(subject: Subject) -> list[Finding]:
    """Whether a run would refuse its targets, for good or unless told that they are meant."""
    if subject.protections:
        return [_protected(sentence) for sentence in subject.protections]
    names = ", ".join(sorted(subject.far))
    if not subject.far:
        if subject.scenario is None and not subject.servers:
            return []
        return [ok("targets", "all on this machine, or allowed by the rules")]
    if subject.yes:
        return [ok("targets", f"{names}: not on this machine; a run needs --yes as well")]
    # What was asked for on the command line and not done must not look like success.
    say = fail if any(host_of(url) in subject.far for url in subject.named) else warn
    return [
        say(
            "targets",
            f"{names}: not on this machine nor allowed by rules, so nothing there was looked at",
            "--yes, if they are meant",
            "repeat with --yes: it sends some 20 gentle requests to each URL, a run far more",
        )
    ]


def _protected(sentence: str) -> Finding:
    """The refusal of a run, whose advice is a sentence of its own."""
    head, _, advice = sentence.partition(". ")
    return told_by("targets", head, do=advice or "name another target")
