"""The odd values, spellings, letters and pieces of YAML that generated files are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scenario.styled import Unquoted

TEXTS = [
    path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parents[2] / "scenarios").rglob("*.yaml"))
]

_SPELLINGS = """
0 -0 +0 1 -1 00 007 012 0o14 0o9 0b101 0x1F 0xG 1_000 1__0 _1 1_ 1.5 .5 5. 1e3 1e-3 1e400
-1e400 1e-400 1E+5 .inf -.inf +.Inf .nan .NaN nan inf Infinity 1:30 190:20:30 1:30.5 2026-01-01
1,5 0.1.2 1e 1e+ --1 +-1 0x 0o 1/2 ½ ٣ ２ 𝟤 Ⅳ 1⁄2 五 1s 1S 1sec 1.s .5s 1e3s -1s +1s 1ms1 1s1s
1m30 1m30s 30s1m 1h1h 1μs 1us 1ns 0s 0ms 0.5ms 400000d 99999999999999999999d 1min 1M 1year １s
1٫5s 100% 100.0% 100.0000001% 101% 0% -1% 1e2% 99 99% 99.999999999999999999%
0.999999999999999999999 % %% .5% ١% 50/s 50/ /s 50/sec 50/m 0/s 1e3/s 50//s -1/s 999999999/s
0.0001/h 50/s/s 2xx 99x 127.0.0.1 127.0.0.1:0 127.0.0.1:65536 127.0.0.1:00080
127.0.0.1:9001:9002 [::1]:80 ::1:80 localhost:http a:b :80 host: 999.999.999.999:1 http://
http:///a http://a:99999/ https://[::1/ http://[::1]]/ ftp://a/ file:///etc/passwd
http://u:p@h/ http://h/{m} http://h/{n http://{n}/ http://h/#f HTTP://H/ http://ü.example/
http://xn--/ http://h:0/ http://h:٣/ //h/ /dev/zero latency<=1s latency&1s >150ms >=150ms
<150ms true false True TRUE yes no on off null Null ~ edge canary EDGE latency errors share
certify embedded GET get CONNECT keep-alive per-request
"""

# Numbers and quantities, unquoted: what they are is for the reader to find out.
QUANTITIES: list[str] = [
    *map(Unquoted, _SPELLINGS.split()), Unquoted("9" * 41), Unquoted("9" * 4301),
    Unquoted("9" * 100_000), Unquoted("0x" + "f" * 100_000), Unquoted("0." + "1" * 5000),
    Unquoted("1" + "0" * 400 + ".0"), Unquoted("1e" + "9" * 50), "1 s", " 1s", "1s ", "1  s",
    "1s  1s", "9" * 63 + "s", "1s" * 40, "> 150ms", "> ", ">", "> 1s > 1s", "status in",
    "status in 1", "status in 2xx-", "status in 600", "status in 3xx-2xx", "status in ,",
    "latency <= 1s and latency <= 2s", "status in " + "2xx," * 80, "latency <= -1s", "and",
    " and ", "latency <= 0s", "status in 2xx and status in 3xx", "status in 2xx or latency <= 1s",
    "a" * 300_000,
]  # fmt: skip

# Values of every type.
VALUES: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**30, "", " ", "x", "x" * 5000, [], {}, [[]], [{}], {"a": {}},
    [None], [1, 2, 3], ["a"] * 200, {"a": 1}, {str(n): n for n in range(200)},
    [[[[[[[[[[1]]]]]]]]]], {"toxic": "latency"}, [{"toxic": "x"}], {"toxic": ["latency"]},
    {"": ""}, {"[key]": 1}, {"name": {}}, Unquoted("!!binary aGk="), Unquoted("!!set {a, b}"),
    Unquoted("!!python/object/apply:os.system [id]"), Unquoted("!!omap [a: 1]"),
    Unquoted("2026-01-01T00:00:00Z"), Unquoted("? a"), Unquoted(""), Unquoted("{a: 1, a: 2}"),
    Unquoted("[a: 1, b: 2]"), Unquoted("{? [a] : 1}"), Unquoted("&x [*x]"),
]  # fmt: skip

# Invisible, turned, combining, wide, unprintable and unassigned letters, and those of other planes.
LETTERS = [
    "\u200b", "\u200d", "\u200e", "\u202e", "\u2066", "\u2069", "\u0301", "\u0489", "\u034f",
    "\u00ad", "\ufeff", "\ufffe", "\uffff", "\ufdd0", "\ue000", "\U0010ffff", "\U000e0041",
    "\u00a0", "\u3000", "\x00", "\x07", "\x1b[31m", "\x7f", "\x80", "\x85", "\u2028", "\u2029",
    "\t", "\r", "\n", "\v", "\f", "é", "e\u0301", "ﬁ", "ß", "İ", "ı", "ǅ", "中", "ع", "א",
    "👩\u200d👧", "🏴", "𝓪", "\U0001f1e9\U0001f1ea", "\ud800", "\udfff", "\ud83d\ude00", "\\",
    "\\x00", "\\ud800", "\\U00110000", "'", '"', "`", "%s", "{}",
]  # fmt: skip
ODD_KEYS = [
    "",
    "[key]",
    "[0]",
    "a.b",
    "<<",
    "latency",
    "x" * 900,
    "${A}",
    "__class__",
    "from\n",
    " ",
]
LOOKALIKES = dict(zip("aceopxyiATB109:%-", "асеорхуіАТВ１０９：％‐", strict=True))

# What may be put at any place of a YAML file.
YAML = [
    "{", "}", "[", "]", ":", ": ", "- ", "? ", "\n", "\n  ", "\t", "\n\t", "\r", "\r\n", " ", "  ",
    ",", "&a ", "*a", "&a &b ", "*", "&", "!", "!!str ", "!!python/name:os.system ", "!<tag:a> ",
    "!a!b ", "<<: ", "<<: *a\n", "---\n", "--- ", "\n---\n", "\n...\n", "%YAML 1.1\n",
    "%YAML 9.9\n---\n", "%TAG ! a:\n", "%", "'", '"', "|", ">", "|9\n", "|-\n ", ">+\n\n\n",
    "|0\n", ">10\n", "|+1\n", "| # a\n", "#", " #", "@", "`", "$", "${", "${A}", "${A:-1}", "$$",
    "no", "null", "~", "=", "1_0", "012", "99%", "-1", ".nan", "1e999", "1:30", "0s", "\x00",
    "\ufeff", "\x85", "\u2028", "é", "\ud800", "{n}", "errors", "latency", "canary", "edge",
    "from", "[key]", "[]", "{}", "{}: 1\n", "[a]: 1\n", "? {a: 1}\n", "? |\n a\n: b\n", "9" * 5000,
    "&a [*a, *a]", '"\\x00"', '"\\ud800"', '"\\U00110000"', '"\\q"', '"a\n\n b"', "'a\n\n b'",
    '"\\\n"', "- -",
    "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)),
]  # fmt: skip

VARIABLES = [
    "${A}", "${B}", "${A}${B}", "${UNSET}", "${UNSET:-}", "${UNSET:-${A}}", "${A:-${B}}", "${",
    "${}", "$", "$$", "$${A}", "$$${A}", "${A", "${1}", "${A-b}", "${A:+b}", "${A:?b}", "${ A }",
    "${a.b}", "$A", "$(id)", "${A}" * 500, "${UNSET}" * 500, "${" * 5000, "${" + "A" * 5000 + "}",
    "${A:-" + "x" * 5000 + "}", "${é}", "${A:-\x00}", "${A\n}", "{${A}}", "${SECRET}",
    "http://u:${SECRET}@h/", "${SECRET}/s", "> ${SECRET}",
]  # fmt: skip

BYTES = [
    b"", b"\n", b" ", b"\x00", b"\xff", b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff",
    b"\xff\xfe\x00\x00", b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf", b"\xef\xbb", b"\xc0\x80",
    b"\xc1\xbf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\x80",
    b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\x80", b"\xe2\x82", b"\xf0\x9f\x98",
    b"\x1f\x8b\x08\x00", b"PK\x03\x04", b"\x7fELF\x02\x01\x01\x00", b"\x89PNG\r\n\x1a\n",
    b"%PDF-1.7\n", b"SQLite format 3\x00", bytes(range(256)), b"\x85", b"\xc2\x85", b"#!/bin/sh\n",
    b"\r", b"\r\n", b"\x1a", b"\x0c", b"\xc2\xa0", b"\xe2\x80\xa8", b"\xef\xbf\xbf",
]  # fmt: skip
