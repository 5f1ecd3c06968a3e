"""chaosbandit finds the breaking point of a dependency and stops with a certified bracket around it."""

from chaosbandit._version import __version__

__all__ = ["__version__"]
