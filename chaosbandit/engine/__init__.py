"""The loop of a run: decide, record, inject, probe, judge, record. Nothing else.

loop      until there is an answer or a reason to stop; what is known of leftovers
exposure  inject, warm up, measure, read back, soften, wash out, judge
sending   what goes out at each slot of an exposure, and what comes back
baseline  severity 0: steady state before, wash-out between, the path afterwards
order     which route is next, and the order in which answers become evidence
recorder  the one place that folds an event and tells the sinks
"""

from chaosbandit.engine.loop import Engine, longest_s

__all__ = ["Engine", "longest_s"]
