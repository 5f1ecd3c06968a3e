"""Words that other tools and people use for our keys."""

from __future__ import annotations

from collections.abc import Collection

# The first of them that the place in question has is what was meant.
_MEANT = {
    "control": ("control_url",),
    "baseline": ("control_url", "steady_samples"),
    "baseline_url": ("control_url",),
    "canary": ("url",),
    "endpoint": ("url", "upstream"),
    "address": ("upstream", "url"),
    "dependency": ("upstream", "proxy"),
    "port": ("listen",),
    "rps": ("rate",),
    "qps": ("rate",),
    "requests_per_second": ("rate",),
    "deadline": ("timeout",),
    "target": ("traffic", "objective", "url", "proxy"),
    "targets": ("traffic",),
    "load": ("traffic",),
    "service": ("traffic", "proxy"),
    "services": ("proxies",),
    "dependencies": ("proxies",),
    "objectives": ("slos",),
    "goal": ("objective",),
    "percentile": ("objective",),
    "condition": ("good",),
    "sli": ("good",),
    "threshold": ("good",),
    "type": ("toxic",),
    "kind": ("toxic",),
    "fault": ("toxic",),
    "faults": ("ladders",),
    "toxics": ("ladders",),
    "questions": ("ladders",),
    "direction": ("stream",),
    "min": ("from",),
    "minimum": ("from",),
    "start": ("from",),
    "max": ("to",),
    "maximum": ("to",),
    "end": ("to",),
    "max_latency": ("max_severity",),
    "max_delay": ("max_severity",),
    "duration": ("max_duration", "max_exposure"),
    "max_time": ("max_duration",),
    "precision": ("resolution",),
    "period": ("window",),
    "days": ("window",),
    "gate": ("require",),
    "gates": ("require",),
    "expect": ("require",),
}


def meant(word: str, known: Collection[str]) -> str | None:
    """The known key that somebody means who writes this word; None where that is not clear."""
    return next((key for key in _MEANT.get(word.lower(), ()) if key in known), None)
