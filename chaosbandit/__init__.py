"""chaosbandit finds the breaking point of a dependency and certifies a bracket around it."""

from chaosbandit._version import __version__

__all__ = ["__version__"]
