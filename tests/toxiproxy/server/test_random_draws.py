"""Draws depend on what they are named after and on nothing else."""

from __future__ import annotations

from chaosbandit.toxiproxy.server.random_draws import Draws
from chaosbandit.toxiproxy.wire_format import ToxicRecord


def _toxic(name: str = "t", toxicity: float = 0.5) -> ToxicRecord:
    return ToxicRecord(name, "noop", "downstream", toxicity, {})


def _draws(seed: int = 1, proxy: str = "p", toxic: ToxicRecord | None = None) -> list[bool]:
    return [Draws(seed, proxy, number).drawn(toxic or _toxic()) for number in range(200)]


def test_the_same_names_draw_the_same() -> None:
    assert _draws() == _draws()


def test_other_names_draw_otherwise() -> None:
    others = [_draws(seed=2), _draws(proxy="q"), _draws(toxic=_toxic("u"))]
    assert all(_draws() != other for other in others)


def test_toxics_do_not_disturb_each_other() -> None:
    alone, together = Draws(1, "p", 1), Draws(1, "p", 1)
    first = [alone.drawn(_toxic()) for _ in range(50)]
    second = []
    for _ in range(50):
        together.drawn(_toxic("other"))
        second.append(together.drawn(_toxic()))
        together.rng(_toxic()).random()
    assert first == second


def test_a_share_is_drawn() -> None:
    assert 70 <= sum(_draws()) <= 130
    assert sum(_draws(toxic=_toxic(toxicity=0))) == 0
    assert sum(_draws(toxic=_toxic(toxicity=1))) == 200
