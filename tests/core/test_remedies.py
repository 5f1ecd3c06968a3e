"""The commands for a person: right for every shell; that they work is tested on real servers."""

from __future__ import annotations

import json
import shlex

from chaosbandit.core.model import Fault
from chaosbandit.core.remedies import manual_commands


def fault(restores: str | None = "inventory", server: str = "http://127.0.0.1:8474") -> Fault:
    return Fault(
        run="run001",
        server=server,
        name="cb.run001.1790000000.1.inventory",
        listen="127.0.0.1:9000",
        upstream='it\'s "odd" $(x):9001',
        restores=restores,
        expires_epoch_s=1_790_000_000,
        toxics=(),
    )


def test_ours_is_closed_first_and_deleted_only_if_it_answers() -> None:
    lines = [shlex.split(command) for command in manual_commands(fault())]
    base = "http://127.0.0.1:8474/proxies"
    ours = f"{base}/cb.run001.1790000000.1.inventory"
    assert lines[0] == ["curl", "-sS", "-m", "3", ours, "-d", '{"enabled": false}']
    assert [lines[n][:4] for n in (1, 2, 4)] == [["curl", "-sS", "-m", "40"]] * 3
    assert lines[1][4:6] == [base, "-d"]
    assert json.loads(lines[1][6]) == {
        "name": "inventory",
        "listen": "127.0.0.1:9000",
        "upstream": 'it\'s "odd" $(x):9001',
        "enabled": True,
    }
    assert lines[2][4:] == [f"{base}/inventory", "-d", '{"enabled": true}']
    assert lines[3][:6] == ["curl", "-sS", "-m", "3", ours, "&&"]
    assert lines[3][6:] == ["curl", "-sS", "-m", "40", "-X", "DELETE", ours]
    assert lines[4][4:] == [f"{base}/inventory"]


def test_what_replaced_nothing_is_only_closed_and_deleted() -> None:
    commands = manual_commands(fault(restores=None, server="http://127.0.0.1:8474/"))
    ours = "http://127.0.0.1:8474/proxies/cb.run001.1790000000.1.inventory"
    assert commands == (
        f"curl -sS -m 3 {ours} -d '{{\"enabled\": false}}'",
        f"curl -sS -m 3 {ours} && curl -sS -m 40 -X DELETE {ours}",
    )


def test_an_operators_name_cannot_become_another_path() -> None:
    shown = manual_commands(fault(restores="a/b c"))[-1]
    assert shown.endswith("/proxies/a%2Fb%20c")
