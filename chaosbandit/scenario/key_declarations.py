"""How the keys of a section are declared: what each means and what it is when left out."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def key(meaning: str, example: object, default: Any = ..., alias: str | None = None) -> Any:
    """A key with a line for the reference; without a default it is required."""
    given = default is not None and default is not ...
    return Field(
        default, description=meaning, examples=[example], validate_default=given, alias=alias
    )


def section(meaning: str, default_factory: Any) -> Any:
    """A section that may be left out: all its keys have defaults."""
    return Field(default_factory=default_factory, description=meaning)


class Keys(BaseModel):
    """A section: no other keys than these, and no value of them in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
