"""What one YAML scalar means: variables of the environment, and its type by YAML 1.2's core rules.

PyYAML would read `no` as false, `1:30` as 90 and `012` as 10 (YAML 1.1); people who write scenarios
mean text, text and 12.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from chaosbandit.scenario.quantities import WantedError

LONGEST_NUMBER = 40  # longer ones stay text, which no number key takes
MOST_FILLED_IN = 64 * 1024  # characters that all values with variables may have together

_VARIABLE = re.compile(r"\$(?:\$|\{([^}\n]*)\}|\{)")
_BRACED = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,99})(?::-(.*))?", re.DOTALL)
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"[-+]?\.(?:inf|Inf|INF)")

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def plain(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > LONGEST_NUMBER:
        return text
    if _DECIMAL.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text) or _HEXADECIMAL.fullmatch(text):
        return int(text, base=0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITY.fullmatch(text) or text in (".nan", ".NaN", ".NAN"):
        return float(text.replace(".", ""))
    return text


def expand(
    text: str,
    environment: Mapping[str, str],
    room: int = MOST_FILLED_IN,
    filled_in: dict[str, str] | None = None,
) -> str:
    """The text with `${NAME}` and `${NAME:-default}` filled in; `$$` stands for one `$`.

    What came from the environment, and not from a default, is added to `filled_in`.
    """
    length = len(text)

    def value(match: re.Match[str]) -> str:
        nonlocal length
        found = _meant(match, environment, {} if filled_in is None else filled_in)
        length += len(found) - len(match[0])
        if length > room:  # before it is put together: a file of variables may mean gigabytes
            raise WantedError(f"values with variables of at most {MOST_FILLED_IN:,} characters")
        return found

    return _VARIABLE.sub(value, text)


def _meant(match: re.Match[str], environment: Mapping[str, str], filled_in: dict[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    braced = _BRACED.fullmatch(match[1] or "")
    if braced is None:
        raise WantedError("${NAME} or ${NAME:-default}; a literal $ before { is written $$")
    name, default = braced[1], braced[2]
    found = environment.get(name)
    if found:
        filled_in[name] = found
    if default is not None:
        return found or default
    if found is None:
        raise WantedError(f"the environment variable {name} to be set, or ${{{name}:-default}}")
    return found
