"""A sequence that only grows: appending shares it, and every older version stays as it was.

A fold that keeps each sample in a tuple copies it for each sample. Versions of a `Series` share one
list and know how much of it is theirs; only appending to a version that is not the newest copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar, overload

Item = TypeVar("Item")


class Series(Sequence[Item], Generic[Item]):
    """Immutable for whoever holds it; `plus` costs the same however long it is."""

    __slots__ = ("_length", "_shared")

    def __init__(self, items: Sequence[Item] = ()) -> None:
        self._shared = list(items)
        self._length = len(self._shared)

    def plus(self, item: Item) -> Series[Item]:
        """The series with one more item at its end."""
        longer: Series[Item] = Series.__new__(Series)
        newest = len(self._shared) == self._length
        longer._shared = self._shared if newest else self._shared[: self._length]
        longer._shared.append(item)
        longer._length = self._length + 1
        return longer

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        return islice(iter(self._shared), self._length)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self._shared[i] for i in range(*index.indices(self._length))]
        return self._shared[range(self._length)[index]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Series({list(self)!r})"
