"""The rules of the layout: who may import whom, what start-up costs, and where tests are."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import chaosbandit
from chaosbandit.core.doses import names
from chaosbandit.core.topology import TOPOLOGIES

PACKAGE = Path(chaosbandit.__file__).parent
TESTS = Path(__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))

# A list, not a graph: each file of core imports only files before it. Records and numbers come
# first, the fold of a campaign reads them, judgements and claims read the campaign; policies decide
# with all of these, and replay asks policies.
CORE = [
    "model", "slo", "topology", "url_template", "ratio_tests", "evidence", "response", "doses",
    "ladder", "scenario", "growing_sequence", "samples_to_evidence", "events", "campaign", "climb",
    "steady_state", "judge", "monotone", "confirmation", "certified_claims", "ending", "guardrail",
    "policies", "forbidden_decisions", "replay_complaints", "replay",
]  # fmt: skip
# Of nobody in particular: what may not be shown, and what others say.
TEXTS = {"hidden_values", "foreign_text"}
# May be imported by anybody but core, and by the watchdog: standard library alone.
PLAIN = {*TEXTS, "deadline_thread"}
ADAPTERS = {"traffic", "toxiproxy", "safety", "store", "report", "sim"}
PORTS = {"core", "faults", "ports", "errors", "machine_shortage", "_version", "__version__", *PLAIN}
MAY_IMPORT = {
    "cli": {"*"},
    "doctor": {"*"},
    "__main__": {"cli", "errors", "_version"},
    "__init__": {"_version"},
    "_version": set[str](),
    "errors": set[str](),
    "machine_shortage": set[str](),
    "faults": PLAIN,
    **dict.fromkeys(PLAIN, TEXTS),
    "child_server": {"deadline_thread", "errors", "foreign_text"},
    "ports": {"core", "errors", "faults"},
    "engine": PORTS,
    "scenario": {"core", "errors", "faults", *PLAIN},
    **dict.fromkeys(ADAPTERS, PORTS),
    "uninterrupted": {"errors"},
    "toxiproxy": {*PORTS, "uninterrupted"},
    "safety": {*PORTS, "uninterrupted", "toxiproxy"},  # its door alone: undoing is written once
    "cleaning": {*PORTS, "toxiproxy", "safety"},
    "sim": {*PORTS, "engine"},
    "plan": {*PORTS, "sim", "report"},  # simulates, and says numbers as a report does
}
# What talks to a server: anybody who undoes goes through it, and nobody goes past it.
DOOR = {
    "calls", "connection_count", "cut_and_reopen", "deadline_connection", "listing", "undo",
    "undo_step_calls", "wire_format",
}  # fmt: skip
# Of `safety`, in the process of the watchdog.
WATCHDOG = {
    "bypass", "durable_files", "owned_files", "forked_children", "ledger", "lock_files", "watchdog",
    "watchdog_one_fault",
}  # fmt: skip
IMPURE = {
    "asyncio", "time", "random", "logging", "os", "socket", "subprocess", "threading", "pathlib",
    "datetime", "secrets", "tempfile", "signal", "io",
}  # fmt: skip
# Naming a policy that does not exist is the user's mistake, and said where names are known; what a
# policy may not say is found where it is asked; exit codes are the errors' business.
CORE_EXCEPTIONS = {("policies", "errors"), ("replay", "errors"), ("ending", "errors")}


def module_of(path: Path) -> str:
    """`chaosbandit.core.judge` for its file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Full names of all modules a file imports, also inside functions; never relative ones."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            if (PACKAGE.parent / node.module.replace(".", "/")).is_dir():
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(imported: str) -> tuple[str, ...]:
    """The parts below `chaosbandit`, none for other packages."""
    parts = imported.split(".")
    return tuple(parts[1:]) if parts[0] == "chaosbandit" else ()


def part_of(path: Path) -> str:
    """The first part below the package: a folder or a file's name."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(path)
    if part == "core":
        return  # a rule of its own
    allowed = MAY_IMPORT[part] | {part}
    for imported in imports(path):
        below = within(imported)
        if below and "*" not in allowed:
            assert below[0] in allowed, f"{module_of(path)} imports {imported}"


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_core_is_a_list_and_pure(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[0] != "core" or parts == ("core", "__init__"):
        return
    mine = parts[1]
    pure = {"numpy", "scipy", *sys.stdlib_module_names} - IMPURE
    for imported in imports(path):
        below = within(imported)
        if not imported.startswith("chaosbandit"):
            assert imported.split(".")[0] in pure, f"{mine} imports {imported}"
        elif below == ("core",) or not below:
            continue  # the names behind it are looked at one by one
        elif below[0] == "faults":
            continue
        elif below[0] == "core":
            assert below[1] == mine or CORE.index(below[1]) < CORE.index(mine), (
                f"{mine} imports {below[1]}, which comes after it"
            )
        else:
            assert (mine, below[0]) in CORE_EXCEPTIONS, f"{mine} imports {imported}"


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_safety_and_cleaning_know_only_the_door_of_toxiproxy(path: Path) -> None:
    if part_of(path) not in ("safety", "cleaning"):
        return
    for imported in imports(path):
        below = within(imported)
        if below[:1] == ("toxiproxy",) and len(below) > 1:
            assert below[1] in {*DOOR, "lease"}, f"{module_of(path)} imports {imported}"


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_what_undoes_needs_the_standard_library_alone(path: Path) -> None:
    """The watchdog process imports it without the package, before it knows of any fault."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    watched = {"toxiproxy": DOOR, "safety": WATCHDOG}.get(parts[0], set[str]())
    if parts[0] not in {"faults", *PLAIN} and (len(parts) != 2 or parts[1] not in watched):
        return
    for imported in imports(path):
        below = within(imported)
        if not below:
            top = imported.split(".")[0]
            assert top in {"chaosbandit", *sys.stdlib_module_names}, f"{parts} imports {imported}"
        elif len(below) > 1 and below[0] == "toxiproxy":
            assert below[1] in DOOR, f"{parts} imports {imported}"
        elif len(below) > 1 and below[0] == "safety":
            assert below[1] in WATCHDOG, f"{parts} imports {imported}"
        else:
            assert below[0] in {"faults", "toxiproxy", "safety", *PLAIN}, (
                f"{parts} imports {imported}"
            )


def test_nobody_goes_past_the_door() -> None:
    """HTTP clients are for the target, for switches and for the one connection kept in `calls`."""
    clients = {"http.client", "httpx", "requests", "aiohttp"}
    users = {
        str(path.relative_to(PACKAGE))
        for path in SOURCES
        if clients & set(imports(path)) and part_of(path) in ("toxiproxy", "safety", "cleaning")
    }
    assert users == {
        "toxiproxy/calls.py", "toxiproxy/deadline_connection.py", "toxiproxy/adapter.py",
        "safety/kill_switch.py",
    }  # fmt: skip


@pytest.mark.parametrize("package", [path for path in PACKAGE.rglob("*") if path.is_dir()])
def test_no_package_has_a_circle_of_modules(package: Path) -> None:
    """Not even one that is closed inside a function, or for types alone."""
    prefix = ".".join(package.relative_to(PACKAGE.parent).parts)
    waiting = {
        f"{prefix}.{path.stem}": set(imports(path))
        for path in package.glob("*.py")
        if path.stem != "__init__"  # a registry imports what registers there
    }
    while waiting:
        free = {name for name, needs in waiting.items() if not needs & (waiting.keys() - {name})}
        assert free, f"{prefix}: {sorted(waiting)} import one another"
        waiting = {name: needs for name, needs in waiting.items() if name not in free}


def test_the_list_of_core_is_complete() -> None:
    found = {path.stem if path.is_file() else path.name for path in (PACKAGE / "core").iterdir()}
    assert found - {"__init__", "__pycache__"} == set(CORE)


def test_no_policy_imports_another() -> None:
    for path in (PACKAGE / "core" / "policies").glob("[!_]*.py"):
        others = {name for name in imports(path) if name.startswith("chaosbandit.core.policies.")}
        modules = {name.split(".")[3] for name in others}
        names = {each.stem for each in path.parent.glob("[!_]*.py")} - {path.stem}
        assert not modules & names, path.name


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_nobody_asks_for_the_name_of_a_topology(path: Path) -> None:
    asked = [node for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Compare | ast.MatchValue)]  # fmt: skip
    for node in asked:
        constants = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
        found = {value for value in constants if isinstance(value, str)}
        assert not found & set(TOPOLOGIES), f"{module_of(path)}:{node.lineno} asks for a name"


# Faults and toxiproxy speak of Toxiproxy's own types of toxics.
NAME_DOSES = {"faults", "toxiproxy"}


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_nobody_asks_for_the_name_of_a_dose(path: Path) -> None:
    if {str(path.relative_to(PACKAGE)), part_of(path)} & NAME_DOSES:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Compare | ast.MatchValue):
            continue
        parts = [part for part in ast.walk(node) if isinstance(part, ast.Constant)]
        assert not {part.value for part in parts if isinstance(part.value, str)} & set(names()), (
            f"{module_of(path)}:{node.lineno} asks for the name of a dose"
        )


def test_a_dose_is_one_file_of_core_and_one_of_the_format() -> None:
    """Nothing else imports a dose by its name."""
    for path in SOURCES:
        own = path.parent in (PACKAGE / "core" / "doses", PACKAGE / "scenario" / "doses")
        for imported in () if own else imports(path):
            below = within(imported)
            assert below[:2] not in {("core", "doses"), ("scenario", "doses")} or (
                len(below) < 3 or below[2] not in names()
            ), f"{module_of(path)} imports {imported}"


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    if path.name == "_version.py" and len(text.splitlines()) == 1:
        return  # one assignment, read by the build
    assert ast.get_docstring(ast.parse(text)), f"{module_of(path)} has no docstring"


# --- errors ---------------------------------------------------------------------------------------

APART = {
    "split", "rsplit", "splitlines", "partition", "rpartition", "removeprefix", "removesuffix",
    "startswith", "endswith", "replace", "strip", "lstrip", "rstrip", "index", "find", "rfind",
    "match", "search", "fullmatch", "sub", "findall",
}  # fmt: skip
# Errors of asyncio, which keeps no more than the text of several.
TEXT_ALONE = {"machine_shortage.py"}


def sentences_taken_apart(tree: ast.AST) -> Iterator[int]:
    """Lines in which the text of an error, or a name given to it, is split or matched."""
    caught = {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)}
    caught |= {name for name in _names(tree) if name.endswith("error")}

    def is_text(node: ast.AST, told: set[str]) -> bool:
        match node:
            case ast.Name(name):
                return name in told
            case ast.Call(ast.Name("str" | "repr"), [ast.Name(name)]):
                return name in caught
            case ast.FormattedValue(ast.Name(name)):
                return name in caught
            case ast.JoinedStr(values):
                return any(is_text(each, told) for each in values)
            case ast.Attribute(ast.Name(name), "args") | ast.Subscript(
                ast.Attribute(ast.Name(name), "args")
            ):
                return name in caught
            case ast.Call(ast.Attribute(of, attr)) if attr in APART:
                return is_text(of, told)
        return False

    for scope in ast.walk(tree):
        if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            continue
        told: set[str] = set()
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign) and is_text(node.value, told):
                told |= {each.id for each in node.targets if isinstance(each, ast.Name)}
        if isinstance(scope, ast.Module):
            told = set()
        for node in ast.walk(scope):
            match node:
                case ast.Call(ast.Attribute(of, attr), arguments) if attr in APART:
                    if any(is_text(each, told) for each in (of, *arguments)):
                        yield node.lineno
                case ast.Compare(_, operators, right):
                    within = (ast.In, ast.NotIn)
                    pairs = zip(operators, right, strict=True)
                    if any(isinstance(o, within) and is_text(each, told) for o, each in pairs):
                        yield node.lineno
                case ast.Subscript(of) if is_text(of, told):
                    yield node.lineno


def _names(tree: ast.AST) -> set[str]:
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return arguments | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_nobody_takes_the_sentence_of_an_error_apart(path: Path) -> None:
    """Its parts are in `error.trouble`."""
    if path.relative_to(PACKAGE).as_posix() not in TEXT_ALONE:
        assert sorted(set(sentences_taken_apart(ast.parse(path.read_text())))) == []


@pytest.mark.parametrize(
    "line",
    [
        'found, _, do = str(error).partition(": ")',
        "message = str(error).removesuffix(listed)",
        'message = str(error)\n    message.endswith(":")',
        'if "frozen" in str(error): pass',
        'text = f"{error}"\n    text.split("; ")',
        're.match("found (.*)", str(error))',
        "str(error)[:10]",
        'error.args[0].split(": ")',
    ],
)
def test_taking_a_sentence_apart_is_seen(line: str) -> None:
    indented = line.replace("\n    ", "\n        ")
    code = f"def f():\n    try: pass\n    except E as error:\n        {indented}\n"
    assert list(sentences_taken_apart(ast.parse(code)))


# --- start-up -------------------------------------------------------------------------------------

HEAVY = {"numpy", "scipy", "httpx", "pydantic", "requests", "aiohttp", "rich", "yaml", "h11"}
CHECKED = """
import sys
sys.argv = ["chaosbandit", {argument!r}]
from chaosbandit.__main__ import main
try:
    main()
except SystemExit as ending:
    assert not ending.code, ending.code
found = sorted({heavy!r} & {{name.split(".")[0] for name in sys.modules}})
print("HEAVY", *found)
"""


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_nothing_heavy_is_imported_to_say_what_there_is(argument: str) -> None:
    code = CHECKED.format(argument=argument, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY"
    assert "chaosbandit" in done.stdout


def seconds(command: list[str]) -> float:
    """How long a command takes from start to end."""
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    return time.perf_counter() - began


@pytest.mark.e2e
@pytest.mark.parametrize(("argument", "limit_s"), [("--version", 0.040), ("--help", 0.200)])
def test_start_up_is_quick(argument: str, limit_s: float) -> None:
    """Best of several, over what this interpreter needs to start at all on this machine."""
    bare = [sys.executable, "-c", "pass"]
    command = [sys.executable, "-m", "chaosbandit", argument]
    best_s, bare_s = float("inf"), float("inf")
    for _ in range(15):
        best_s = min(best_s, seconds(command))
        bare_s = min(bare_s, seconds(bare))
        if best_s <= limit_s:
            return
    slow_machine = max(0.0, bare_s - 0.020)  # an interpreter alone starts in some 15 ms
    assert best_s <= limit_s + slow_machine, f"{best_s:.3f} s, a bare interpreter {bare_s:.3f} s"


# --- tests mirror sources -------------------------------------------------------------------------

# Not tested by a file of their own name: where they are tested instead, and why.
TESTED_IN = {
    "__main__.py": "e2e",  # a process is the only way to see it
    "ports.py": "engine/test_loop.py",  # protocols only; mypy holds adapters to them
    "core/policies/__init__.py": "core/policies",  # rules all policies share
    "core/doses/__init__.py": "core/doses/test_registry.py",
    "core/doses/_spacing.py": "core/test_ladder.py",
    "core/replay_complaints.py": "core/test_replay.py",
    "scenario/doses/*.py": "scenario/test_doses.py",
    # Commands are thin: what users see of them is tested through the command line.
    "cli/*.py": "e2e",
    # Inner parts, tested through the one module that uses them.
    "core/policies/_model_beliefs.py": "core/policies/test_certify.py",
    "core/policies/_one_arm_test.py": "core/policies/test_bisect_sequential.py",
    "core/policies/_affordable_bracket.py": "core/policies/test_affordable_bracket.py",
    "core/policies/_batches.py": "core/policies/test_certify.py",
    "core/policies/_gate.py": "core/policies/test_gate.py",
    "core/policies/_prices.py": "core/policies/test_certify.py",
    "sim/conformance/__main__.py": "sim/conformance/test_suite.py",
    "sim/response_curves.py": "sim/test_targets.py",
    "safety/durable_files.py": "safety/test_ledger.py",
    "safety/forked_children.py": "safety/test_guard.py",
    "safety/lock_files.py": "safety/test_run_claims.py",
    "safety/run_faults.py": "safety/test_guard.py",
    "safety/watchdog_link.py": "safety/test_guard.py",
    "cleaning/path_notes.py": "cleaning/test_clean.py",
    "cleaning/one_server.py": "cleaning/test_clean.py",
    "cleaning/sweeper_lease.py": "cleaning/test_sweeper.py",
    "uninterrupted.py": "toxiproxy/test_injector.py",
    "toxiproxy/cut_and_reopen.py": "toxiproxy/test_undo.py",
    "toxiproxy/deadline_connection.py": "toxiproxy/test_calls.py",
    "toxiproxy/undo_step_calls.py": "toxiproxy/test_undo.py",
    "scenario/*.py": "scenario/test_yaml_to_tree.py",
    "toxiproxy/server/__main__.py": "toxiproxy/server/test_http.py",
    "toxiproxy/server/toxics/__init__.py": "toxiproxy/server/test_toxics.py",
    "traffic/http.py": "traffic/test_prober.py",
    "traffic/request_sender.py": "traffic/test_prober.py",
    "traffic/prober_health.py": "traffic/test_prober.py",
    "traffic/sending_process_link.py": "traffic/test_multiprocess_prober.py",
    "traffic/sending_process.py": "traffic/test_multiprocess_prober.py",
    "traffic/prober_choice.py": "traffic/test_multiprocess_prober.py",
}
TESTED = [path for path in SOURCES if "def " in path.read_text()]


def mirror(path: Path) -> Path:
    """Where the tests of a source file are."""
    relative = path.relative_to(PACKAGE)
    return TESTS / relative.parent / f"test_{relative.name}"


def exceptions(path: Path) -> list[str]:
    """The exceptions that speak of a source file."""
    relative = path.relative_to(PACKAGE)
    return [pattern for pattern in TESTED_IN if str(relative.parent / relative.name) == pattern
            or (pattern.endswith("*.py") and relative.match(pattern))]  # fmt: skip


@pytest.mark.parametrize("path", TESTED, ids=module_of)
def test_every_source_has_its_tests(path: Path) -> None:
    if not mirror(path).exists():
        assert exceptions(path), f"{mirror(path).relative_to(TESTS)} is missing"


@pytest.mark.parametrize("pattern", TESTED_IN)
def test_exceptions_are_needed_and_tell_the_truth(pattern: str) -> None:
    assert (TESTS / TESTED_IN[pattern]).exists()
    without = [path for path in TESTED if pattern in exceptions(path) and not mirror(path).exists()]
    assert without or pattern == "ports.py"


def test_no_package_files_among_tests() -> None:
    assert [path for path in TESTS.rglob("__init__.py") if "__pycache__" not in path.parts] == []
