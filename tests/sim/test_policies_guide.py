"""The guide for authors of policies: every block of code in it runs and does what the text says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from chaosbandit.sim.conformance import RULES

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "benchmarks" / "POLICIES.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
FILES = {text.split("\n")[0].removeprefix("# "): text for kind, text in BLOCKS
         if kind in ("python", "toml")}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The guide's files, and what installing them would leave where Python looks."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    asked = tomllib.loads(FILES["pyproject.toml"])["project"]
    info = tmp_path / f"{asked['name'].replace('-', '_')}-{asked['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {asked['name']}\nVersion: {asked['version']}\n")
    ((group, points),) = asked["entry-points"].items()
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
    return tmp_path


def python(project: Path, *arguments: str) -> str:
    """What a command of the guide prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(project), str(ROOT)])},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_block_is_run() -> None:
    assert sorted(FILES) == ["mine.py", "pyproject.toml", "race.py", "test_mine.py"]
    assert [kind for kind, _ in BLOCKS if kind not in ("python", "toml")] == ["sh", "yaml"]


def test_the_race_is_run(project: Path) -> None:
    found = re.findall(r"^(\w+): ([0-9.]+) times the limit$", python(project, "race.py"), re.M)
    assert [name for name, _ in found] == ["halving", "certify"]
    halving, certify = (float(times) for _, times in found)
    assert 0.8 < certify < halving < 100.0


def test_the_example_conforms(project: Path) -> None:
    printed = python(project, "-m", "pytest", "-p", "no:cacheprovider", "-q", "test_mine.py")
    assert f"{len(RULES)} passed" in printed


def test_the_command_is_run(project: Path) -> None:
    (command,) = (text.split() for kind, text in BLOCKS if kind == "sh")
    assert command[0] == "python"
    assert python(project, *command[1:]) == f"{len(RULES)} of {len(RULES)} rules kept\n"


def test_it_is_found_once_installed(project: Path) -> None:
    (text,) = (text for kind, text in BLOCKS if kind == "yaml")
    name = yaml.safe_load(text)["search"]["policy"]
    code = "from chaosbandit.core.policies import policy; print(type(policy(%r)))"
    assert python(project, "-c", code % name) == "<class 'mine.Halving'>\n"
