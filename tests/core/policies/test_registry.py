"""The registry: policies of installed packages are found, loaded once, and blamed for their faults.

Real entry points: a dist-info folder and a module in a directory that is on `sys.path`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaosbandit.core import policies
from chaosbandit.core.model import Stop
from chaosbandit.core.policies import known, names, policy
from chaosbandit.errors import UsageError
from chaosbandit.sim import simulate

Install = Callable[..., None]
MINE = """
from chaosbandit.core.model import Stop
class Mine:
    name = "mine"
    def decide(self, campaign, rng):
        return Stop("enough")
mine = Mine()
"""


@pytest.fixture(autouse=True)
def look_again() -> Iterator[None]:
    """What is installed is looked up once a process; here it changes."""
    policies._installed.cache_clear()
    policies._plugin.cache_clear()
    yield
    policies._installed.cache_clear()
    policies._plugin.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a package with one module and one entry point where Python finds it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installed(points: str, source: str = MINE, package: str = "mine_package") -> None:
        (tmp_path / f"{package}.py").write_text(source)
        info = tmp_path / f"{package}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[chaosbandit.policies]\n{points}\n")
        monkeypatch.delitem(sys.modules, package, raising=False)

    return installed


@pytest.mark.parametrize("attribute", ["Mine", "mine"], ids=["a class", "an object"])
def test_an_installed_policy_is_one_of_them(install: Install, attribute: str) -> None:
    install(f"mine = mine_package:{attribute}")
    assert names() == tuple(sorted({*names(), "certify", "mine"}))
    assert "mine_package" not in sys.modules  # naming it does not import it
    assert known("mine") and not known("yours")
    assert policy("mine") is policy("mine")
    found = simulate(lambda _: 0.0, low=1.0, high=2.0, objective=0.9, policy="mine")
    assert (found.reason, found.samples) == ("enough", 0)


def test_a_scenario_may_name_it(install: Install) -> None:
    from pydantic import TypeAdapter, ValidationError

    from chaosbandit.scenario.value_types import Policy

    reader = TypeAdapter(Policy)
    install("mine = mine_package:Mine")
    assert reader.validate_python("mine") == "mine"
    with pytest.raises(ValidationError, match=r"one of .*certify, .*mine.*did you mean `mine`"):
        reader.validate_python("mines")


def test_a_name_of_ours_cannot_be_taken_over(install: Install) -> None:
    install("certify = mine_package:Mine")
    assert type(policy("certify")).__module__ == "chaosbandit.core.policies.certify"
    assert names().count("certify") == 1

    class Certify:
        name = "certify"

        def decide(self, campaign: object, rng: object) -> Stop:
            return Stop("mine")

    with pytest.raises(UsageError, match=r"Certify is called 'certify', as a policy of chaosb"):
        policies.register(Certify)
    assert type(policy("certify")).__module__ == "chaosbandit.core.policies.certify"


@pytest.mark.parametrize(
    ("points", "source", "said"),
    [
        ("mine = mine_package:Mine", "import not_there", "ModuleNotFoundError: No module named"),
        ("mine = mine_package:Mine", "1 / 0", "ZeroDivisionError: division by zero"),
        ("mine = mine_package:Yours", MINE, "AttributeError: module 'mine_package' has no attr"),
        ("mine = not_there:Mine", MINE, "ModuleNotFoundError: No module named 'not_there'"),
        ("mine = mine_package:Mine", MINE.replace("def decide", "def choose"), "no method `decide"),
        ("mine = mine_package:Mine", MINE.replace('"mine"', '"yours"'), "has the name 'yours', wa"),
        ("mine = mine_package:Mine", MINE.replace('name = "mine"', ""), "has the name None, want"),
        (
            "mine = mine_package:Mine",
            MINE.replace('name = "mine"', "def __init__(self, size): pass").replace(
                "mine = M", "#"
            ),
            "TypeError: ",
        ),
    ],
)
def test_one_that_cannot_be_used_is_blamed(
    install: Install, points: str, source: str, said: str
) -> None:
    install(points, source)
    assert "mine" in names()
    with pytest.raises(UsageError) as refused:
        policy("mine")
    text = str(refused.value)
    assert text.startswith("search.policy 'mine', which mine_package 1.2 offers as ")
    assert said in text
    assert text.endswith("repair, update or uninstall that package, or choose another policy")


def test_two_packages_cannot_offer_the_same(install: Install) -> None:
    install("mine = mine_package:Mine")
    install("mine = other_package:Mine", package="other_package")
    with pytest.raises(UsageError, match=r"is offered by .* as well; uninstall all but one"):
        policy("mine")


def test_installed_packages_are_only_looked_at_for_names_that_are_not_ours() -> None:
    """Looking through them takes longer than all else at start-up."""
    code = """
import sys
from chaosbandit.core.policies import known, policy
assert policy("certify").name == "certify" and known("ramp")
assert "importlib.metadata" not in sys.modules
assert not known("guess")
assert "importlib.metadata" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
