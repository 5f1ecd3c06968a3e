"""A simulated world behind the same ports: the same engine and policies without a network."""

from chaosbandit.sim.information_limit import limit
from chaosbandit.sim.simulated_campaign import SimulatedRun, simulate
from chaosbandit.sim.world import Response, World, simulate_campaign

__all__ = ["Response", "SimulatedRun", "World", "limit", "simulate", "simulate_campaign"]
