"""A simulated world behind the same ports: the same engine and policies without a network."""

from chaosbandit.sim.trial import SimulatedRun, simulate
from chaosbandit.sim.world import Response, World, simulate_campaign
from chaosbandit.sim.yardstick import limit

__all__ = ["Response", "SimulatedRun", "World", "limit", "simulate", "simulate_campaign"]
