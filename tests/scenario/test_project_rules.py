"""The project's rules: which hosts a pattern means, which files count, what is refused in them."""

from __future__ import annotations

import ipaddress
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosbandit.errors import Exit, Problem, ScenarioError
from chaosbandit.scenario.host_patterns import Pattern, pattern, spellings
from chaosbandit.scenario.project_rules import LARGEST, Rules, rules_for
from chaosbandit.scenario.quantities import WantedError

FILE = Path("rules.toml")

Row = tuple[str, str, int | None, tuple[str, ...], bool]

# Pattern, host as written, port, its addresses, whether the pattern means it.
NAMES: list[Row] = [
    ("shop.example", "shop.example", 80, (), True),
    ("Shop.EXAMPLE.", "sHop.example", 80, (), True),
    ("shop.example", "shop.example.", 80, (), True),
    ("shop.example", "a.shop.example", 80, (), False),
    ("shop.example", "shop.example.org", 80, (), False),
    ("shop.example", "shopxexample", 80, (), False),
    ("*.example.com", "a.example.com", 80, (), True),
    ("*.example.com", "A.b.c.Example.com.", 80, (), True),
    ("*.example.com", "example.com", 80, (), False),
    ("*.example.com", "notexample.com", 80, (), False),
    ("a_b.example", "a_b.example", 80, (), True),
    # IDNA: in either spelling, and in both of its versions where they differ
    ("bücher.example", "xn--bcher-kva.example", 80, (), True),
    ("xn--bcher-kva.example", "BÜCHER.example", 80, (), True),
    ("*.bücher.example", "a.bu\u0308cher.example", 80, (), True),
    ("shop.example", "ｓhop。example", 80, (), True),
    # ports
    ("shop.example:443", "shop.example", 443, (), True),
    ("shop.example:443", "shop.example", 80, (), False),
    ("*.example.com:443", "a.example.com", 443, (), True),
    ("*.example.com:443", "a.example.com", 444, (), False),
]
ADDRESSES: list[Row] = [
    ("10.1.2.3", "10.1.2.3", 80, (), True),
    ("10.1.2.3", "db", 80, ("10.1.2.3",), True),
    ("10.1.2.3", "db", 80, ("10.1.2.4",), False),
    ("10.0.0.0/8", "db", 80, ("10.255.0.1",), True),
    ("10.0.0.0/8", "db", 80, ("11.0.0.1",), False),
    ("10.0.0.0/8:5432", "db", 5432, ("10.0.0.1",), True),
    ("10.0.0.0/8:5432", "db", 5433, ("10.0.0.1",), False),
    ("2001:db8::1", "2001:DB8:0::1", 80, (), True),
    ("2001:db8::/32", "db", 80, ("2001:db8:ffff::1",), True),
    ("[2001:db8::/32]", "db", 80, ("2001:db9::1",), False),
    ("[2001:db8::1]:80", "2001:db8::1", 80, (), True),
    ("[2001:db8::1]:80", "2001:db8::1", 81, (), False),
    ("fe80::/10", "fe80::1%eth0", 80, (), True),
    ("fe80::/10", "gateway", 80, ("fe80::1%2",), True),
    # IPv4 in IPv6, on either side
    ("10.0.0.0/8", "::ffff:10.1.2.3", 80, (), True),
    ("10.0.0.0/8", "db", 80, ("::ffff:a01:203",), True),
    ("::ffff:10.0.0.0/104", "db", 80, ("10.1.2.3",), True),
]
# Only `protect` looks at these: loopback is allowed anyhow, and one of several is not enough there.
PROTECTED: list[Row] = [
    ("localhost", "localhost", 80, ("127.0.0.1",), True),
    # what a resolver makes of unusual spellings counts, not how they look
    ("127.0.0.1", "0177.0.0.1", 80, ("127.0.0.1",), True),
    ("177.0.0.1", "0177.0.0.1", 80, ("127.0.0.1",), False),
    ("127.0.0.0/8", "2130706433", 80, ("127.0.0.1",), True),
    ("127.0.0.1", "localhost", 80, ("::1", "127.0.0.1"), True),
    ("127.0.0.1", "localhost", 80, ("::1",), False),
    ("127.0.0.1", "::ffff:127.0.0.1", 80, (), True),
    ("127.0.0.1:9101", "0.0.0.0", 9101, (), True),
    ("::1", "::", 9101, (), True),
    ("10.0.0.0/8", "db", 80, ("192.0.2.1", "10.1.2.3"), True),
    ("shop.example:443", "shop.example", None, (), True),
    ("ss.example", "ß.example", 80, (), True),
    ("xn--zca.example", "ß.example", 80, (), True),
]


def rules(allow: tuple[str, ...] = (), protect: tuple[str, ...] = ()) -> Rules:
    return Rules(
        allow=tuple(pattern(each, FILE) for each in allow),
        protect=tuple(pattern(each, FILE) for each in protect),
    )


@pytest.mark.parametrize(
    ("written", "host", "port", "addresses", "meant"), NAMES + ADDRESSES + PROTECTED
)
def test_what_is_protected(
    written: str, host: str, port: int | None, addresses: tuple[str, ...], meant: bool
) -> None:
    match = rules(protect=("other.invalid", written)).protecting(host, port, addresses)
    assert (match is not None) == meant
    if match is not None:
        assert match[0] == pattern(written, FILE)


@pytest.mark.parametrize(("written", "host", "port", "addresses", "meant"), NAMES + ADDRESSES)
def test_what_is_allowed(
    written: str, host: str, port: int, addresses: tuple[str, ...], meant: bool
) -> None:
    literal = ":" in host or host[0].isdecimal()
    leads_to = addresses if addresses or literal else ("192.0.2.1",)
    assert rules(allow=("other.invalid", written)).allows(host, port, leads_to) == meant


@pytest.mark.parametrize(
    ("allow", "host", "port", "addresses", "allowed"),
    [
        # nothing but loopback without rules; a name without an address leads nowhere
        ((), "here", 80, ("127.0.0.1", "::1"), True),
        ((), "2130706433", 80, ("127.0.0.1",), True),
        ((), "::ffff:127.0.0.1", 80, (), True),
        ((), "0.0.0.0", 80, (), False),
        ((), "here", 80, ("127.0.0.1", "10.0.0.1"), False),
        ((), "nobody.invalid", 80, (), True),
        # all addresses must be allowed, by whichever entries; a name is enough
        (("10.0.0.0/8",), "db", 80, ("10.0.0.1", "192.0.2.1"), False),
        (("10.0.0.0/8", "192.0.2.0/24"), "db", 80, ("10.0.0.1", "192.0.2.1"), True),
        (("10.0.0.0/8",), "db", 80, ("10.0.0.1", "127.0.0.1"), True),
        (("10.0.0.0/8:80", "192.0.2.1:81"), "db", 80, ("10.0.0.1", "192.0.2.1"), False),
        (("db",), "db", 80, ("10.0.0.1", "192.0.2.1"), True),
        # ambiguous: the port is not known, or the two IDNA mean two hosts
        (("db:80",), "db", None, ("10.0.0.1",), False),
        (("ss.example",), "ß.example", 80, ("10.0.0.1",), False),
        (("ss.example", "xn--zca.example"), "ß.example", 80, ("10.0.0.1",), True),
    ],
)
def test_when_no_yes_is_needed(
    allow: tuple[str, ...], host: str, port: int | None, addresses: tuple[str, ...], allowed: bool
) -> None:
    assert rules(allow).allows(host, port, addresses) == allowed


def test_the_resolvers_own_name_for_a_host_is_protected_and_never_allowed() -> None:
    both = rules(allow=("*.prod.example",), protect=("*.prod.example",))
    match = both.protecting("db", 80, ("10.0.0.1",), ("db.prod.example.",))
    assert match is not None
    assert match[1] == "db.prod.example"
    assert not both.allows("db", 80, ("10.0.0.1",))


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("*", "every machine .*--yes"),
        ("*:443", "every machine"),
        ("0.0.0.0/0", "every machine"),
        ("[::/0]:80", "every machine"),
        ("::ffff:0:0/96", "every machine"),
        ("10.0.0.1/8", "10.0.0.0/8, or one address"),
        ("0177.0.0.1", "usual spelling"),
        ("2130706433", "usual spelling"),
        ("0x7f.1", "usual spelling"),
        ("127。0。0。1", "usual spelling"),
        ("10.0.0", "usual spelling"),
        ("10.0.0.0/33", "usual spelling"),
        ("*.5", "usual spelling"),
        ("shop.example/8", "usual spelling"),
        ("ß.example", "xn-- form"),
        ("http://shop.example", "no scheme"),
        ("fe80::1%eth0", "no zone"),
        ("shop.example:0", "1 to 65535"),
        ("shop.example:65536", "1 to 65535"),
        ("shop.example:", "1 to 65535"),
        ("shop.example:8O", "1 to 65535"),
        ("[10.0.0.1]:80", "brackets are for IPv6"),
        ("a*.example", "whole first part"),
        ("*.*.example", "whole first part"),
        ("a..example", "whole first part"),
        ("", "a host or network"),
        ("user@shop.example", "a host or network"),
        ("x" * 64 + ".example", "a host or network"),
        (5432, "put it in quotes"),
        (["shop.example"], "text"),
    ],
)
def test_what_is_no_pattern(written: object, wanted: str) -> None:
    with pytest.raises(WantedError, match=wanted):
        pattern(written, FILE)


@pytest.mark.parametrize("host", ["", ".", "\udc80", "x" * 100, "a..b", "::1", "ä" * 300])
def test_whatever_is_no_name_is_spelled_somehow(host: str) -> None:
    assert len(spellings(host)) >= 1
    assert rules(protect=("shop.example", "10.0.0.1")).protecting(host, 80, ("garbage",)) is None


# --- protect always wins ------------------------------------------------------------------------

LABELS = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
HOSTS = st.lists(LABELS, min_size=2, max_size=4).map(".".join)
IPS = st.ip_addresses()
PORTS = st.none() | st.integers(1, 65535)


@st.composite
def ways_to_write(draw: st.DrawFn, host: str) -> str:
    upper = draw(st.lists(st.booleans(), min_size=len(host), max_size=len(host)))
    letters = (letter.upper() if up else letter for letter, up in zip(host, upper, strict=True))
    return "".join(letters) + draw(st.sampled_from(["", "."]))


@given(st.data(), HOSTS, st.lists(IPS), PORTS)
def test_a_protected_name_is_found_however_it_is_written_and_wherever_it_leads(
    data: st.DataObject, host: str, addresses: list[object], port: int | None
) -> None:
    above = "*." + host.partition(".")[2]
    written = data.draw(ways_to_write(data.draw(st.sampled_from([host, above]))))
    written += "" if port is None else data.draw(st.sampled_from(["", f":{port}"]))
    found = data.draw(ways_to_write(host))
    others = tuple(data.draw(st.lists(HOSTS, max_size=3)))
    assert rules((host,), (*others, written)).protecting(found, port, map(str, addresses))


@given(st.data(), IPS, st.lists(IPS), PORTS)
def test_one_protected_address_among_any_others_is_found(
    data: st.DataObject,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    others: list[object],
    port: int | None,
) -> None:
    prefix = data.draw(st.integers(1, address.max_prefixlen))
    network = ipaddress.ip_network(f"{address}/{prefix}", strict=False)
    written = str(network)
    if port is not None and data.draw(st.booleans()):
        written = f"[{network}]:{port}" if network.version == 6 else f"{network}:{port}"
    spelled = str(address)
    if address.version == 4 and data.draw(st.booleans()):
        spelled = f"::ffff:{address}"
    found = data.draw(st.permutations([*map(str, others), spelled]))
    assert rules((written,), (written,)).protecting("shop.example", port, found)
    assert rules((written,), (written,)).protecting(spelled, port, ())


@given(HOSTS, st.lists(IPS.map(str), min_size=1), PORTS)
def test_without_rules_loopback_alone_is_allowed(
    host: str, addresses: list[str], port: int | None
) -> None:
    def here(text: str) -> bool:
        address = ipaddress.ip_address(text)
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback

    assert Rules().allows(host, port, addresses) == all(map(here, addresses))


# --- files --------------------------------------------------------------------------------------


class Places:
    """A machine, a user and a repository of the test's own."""

    def __init__(self, tmp_path: Path) -> None:
        self.machine = tmp_path / "etc" / "rules.toml"
        self.user = tmp_path / "config" / "chaosbandit" / "rules.toml"
        self.repository = tmp_path / "repository"
        self.project = self.repository / "chaosbandit.toml"
        self.scenario = self.repository / "games" / "deep" / "shop.yaml"
        for path in (self.machine, self.user, self.scenario, self.repository / ".git" / "x"):
            path.parent.mkdir(parents=True)
        self.scenario.write_text("version: 1\n")
        self.environ = {"XDG_CONFIG_HOME": str(tmp_path / "config")}

    def rules(self, scenario: Path | None = None) -> Rules:
        return rules_for(scenario or self.scenario, self.environ, self.machine)

    def problems(self) -> tuple[Problem, ...]:
        with pytest.raises(ScenarioError) as caught:
            self.rules()
        assert caught.value.exit_code == Exit.USAGE
        return caught.value.problems


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def texts(patterns: tuple[Pattern, ...]) -> list[tuple[str, Path]]:
    return [(each.text, each.file) for each in patterns]


def test_without_files_there_are_no_rules(places: Places) -> None:
    assert places.rules() == Rules()


def test_all_files_add_up_and_each_entry_knows_its_own(places: Places) -> None:
    places.machine.write_text('protect = ["db.example"]\nfreeze = ["/run/freeze"]\n')
    places.user.write_text('allow = ["lab.example"]\nfreeze = ["https://ops.example/f"]\n')
    places.project.write_text('allow = ["*.staging.example"]\nprotect = ["10.0.0.0/8"]\n')
    found = places.rules()
    assert found.files == (places.machine, places.user, places.project)
    assert texts(found.allow) == [
        ("lab.example", places.user),
        ("*.staging.example", places.project),
    ]
    assert texts(found.protect) == [("db.example", places.machine), ("10.0.0.0/8", places.project)]
    assert [(each.text, each.file) for each in found.freeze] == [
        ("/run/freeze", places.machine),
        ("https://ops.example/f", places.user),
    ]
    assert rules_for(None, places.environ, places.machine).files == found.files[:2]


def test_the_nearest_project_file_counts_alone(places: Places) -> None:
    places.project.write_text('allow = ["far.example"]')
    near = places.scenario.parent / "chaosbandit.toml"
    near.write_text('allow = ["near.example"]')
    assert places.rules().files == (near,)
    near.unlink()
    assert places.rules().files == (places.project,)


@pytest.mark.parametrize("git", ["folder", "file"])  # a worktree and a submodule have a file
def test_above_a_repository_nothing_is_looked_for(places: Places, git: str) -> None:
    inner = places.scenario.parent
    places.project.write_text("")
    assert places.rules().files == (places.project,)
    (inner / ".git").mkdir() if git == "folder" else (inner / ".git").write_text("gitdir: x")
    assert places.rules().files == ()
    (inner / "chaosbandit.toml").write_text("")
    assert places.rules().files == (inner / "chaosbandit.toml",)


def test_a_link_belongs_to_both_projects(places: Places, tmp_path: Path) -> None:
    places.project.write_text('protect = ["db.example"]')
    other = tmp_path / "other"
    other.mkdir()
    (other / "chaosbandit.toml").write_text('allow = ["lab.example"]')
    (other / "link.yaml").symlink_to(places.scenario)
    found = places.rules(other / "link.yaml")
    assert found.files == (other / "chaosbandit.toml", places.project)
    (tmp_path / "folder").symlink_to(places.scenario.parent)
    assert places.rules(tmp_path / "folder" / "shop.yaml").files == (places.project,)


def test_relative_paths_and_pipes_belong_to_the_current_folder(
    places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    places.project.write_text("")
    monkeypatch.chdir(places.scenario.parent)
    assert places.rules(Path("shop.yaml")).files == (places.project,)
    os.mkfifo(tmp_path / "pipe")
    assert places.rules(tmp_path / "pipe").files == (places.project,)


def test_one_file_found_twice_is_one(places: Places) -> None:
    places.project.write_text('allow = ["lab.example"]')
    places.user.symlink_to(places.project)
    assert len(places.rules().allow) == 1


@pytest.mark.parametrize("config", [None, "", "relative"])
def test_the_users_file_is_in_the_usual_place(
    places: Places, tmp_path: Path, config: str | None
) -> None:
    environ = {"HOME": str(tmp_path)} | ({} if config is None else {"XDG_CONFIG_HOME": config})
    usual = tmp_path / ".config" / "chaosbandit" / "rules.toml"
    usual.parent.mkdir(parents=True)
    usual.write_text("")
    assert rules_for(None, environ, places.machine).files == (usual,)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(places: Places) -> None:
    places.project.write_bytes(b'\xef\xbb\xbfallow = [\r\n  "lab.example",\r\n]\r\n')
    assert texts(places.rules().allow) == [("lab.example", places.project)]


# --- what is wrong with a file ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "line", "column", "key", "sentence"),
    [
        ('\nalow = ["x"]', 2, 1, "alow", "found `alow`, wanted one of .* `allow`"),
        ("[guardrails]\nfreeze = []", 1, 2, "guardrails", "wanted one of allow"),
        ('"protekt" = []', 1, 1, "protekt", "did you mean `protect`"),
        ('# x\nprotect = "db.example"', 2, 1, "protect", "found db.example, wanted a list"),
        ("allow = true", 1, 1, "allow", "found True, wanted a list"),
        ("[protect]\nx = 1", 1, 2, "protect", "found a table, wanted a list"),
        ('allow = [\n  "ok.example",\n  "*",\n]', 3, 3, "allow[1]", "found \\*, .* --yes"),
        ('allow = ["*"]\nprotect = ["*"]', 1, 10, "allow[0]", "every machine"),
        ("protect = [\n  5432]", 1, 1, "protect[0]", "found 5432, wanted text"),
        ('protect = [""]', 1, 12, "protect[0]", "found an empty text"),
        ("freeze = ['relative']", 1, 11, "freeze[0]", "absolute path"),
        ('freeze = ["https://me:secret@ops.example/"]', 1, 11, "freeze[0]", r"//\*\*\*@ops"),
        ("allow = [\n", 2, 1, "rules", "no TOML"),
        ('allow = ["a"]\nallow = ["b"]', 2, 14, "rules", r"no TOML \(Cannot overwrite a value\)"),
        ("allow = [\n  what]", 2, 3, "rules", "no TOML"),
        ("[" * 100_000, 1, 3, "rules", "no TOML"),
        ("x = " + "[" * 100_000, 1, 1, "rules", "no TOML"),
        ("x = " + "9" * 5000, 1, 1, "rules", "no TOML"),
    ],
)
def test_mistakes_have_a_place_and_a_sentence(
    places: Places, source: str, line: int, column: int, key: str, sentence: str
) -> None:
    places.project.write_text(source)
    problem = places.problems()[0]
    assert re.search(sentence, str(problem)), problem
    assert (problem.file, problem.key) == (str(places.project), key)
    assert (problem.line, problem.column) == (line, column)
    assert "secret" not in str(problem)


def test_all_mistakes_of_all_files_are_told_at_once(places: Places) -> None:
    places.machine.write_text('protect = ["db.example:0"]')
    places.project.write_text('freeze = ["x"]\nallow = [1, "*"]\nnames = []')
    found = [(problem.file, problem.line, problem.key) for problem in places.problems()]
    assert found == [
        (str(places.machine), 1, "protect[0]"),
        (str(places.project), 1, "freeze[0]"),
        (str(places.project), 2, "allow[0]"),
        (str(places.project), 2, "allow[1]"),
        (str(places.project), 3, "names"),
    ]


@pytest.mark.parametrize("which", ["machine", "user", "project"])
@pytest.mark.parametrize("what", ["folder", "dangling link", "pipe", "loop", "huge", "bytes"])
def test_what_cannot_be_read_never_means_no_rules(places: Places, which: str, what: str) -> None:
    path: Path = getattr(places, which)
    if what == "folder":
        path.mkdir()
    elif what == "dangling link":
        path.symlink_to("nowhere")
    elif what == "loop":
        path.symlink_to(path)
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "huge":
        path.write_text("#" * (LARGEST + 1))
    else:
        path.write_bytes(b"# caf\xc3\xa9\n# caf\xe9\n")
    (problem,) = places.problems()
    assert problem.file == str(path)
    if what == "bytes":
        place = (problem.line, problem.column, problem.found, problem.wanted)
        assert place == (2, 6, "the byte 0xe9", "UTF-8 text")
    else:
        assert problem.found.startswith("no readable file (")


def test_a_place_that_cannot_even_be_looked_at_is_refused(places: Places) -> None:
    places.environ["XDG_CONFIG_HOME"] = "/" + "x" * 300  # longer than a name may be
    assert places.problems()[0].found.startswith("no readable file (")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_others_is_refused(places: Places) -> None:
    places.machine.write_text("")
    places.machine.chmod(0)
    assert "Permission denied" in places.problems()[0].found
    places.machine.parent.chmod(0)
    try:
        assert "Permission denied" in places.problems()[0].found
    finally:
        places.machine.parent.chmod(0o700)


def test_a_file_as_large_as_may_be_is_read_soon_even_if_all_is_wrong(places: Places) -> None:
    source = "allow = [" + '"*",' * 65_000 + "]"
    places.project.write_text(source + "\n" * (LARGEST - len(source)))
    began_s = time.monotonic()
    assert len(places.problems()) == 100
    assert time.monotonic() - began_s < 20
