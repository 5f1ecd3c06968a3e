"""A simulated world behind the same ports: the same engine and policies without a network."""

from chaosbandit.sim.world import Response, World, simulate_campaign

__all__ = ["Response", "World", "simulate_campaign"]
