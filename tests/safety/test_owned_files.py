"""Whose files and folders are: what others may have written is seen as such, and never followed."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaosbandit.safety.owned_files import (
    LARGEST_BYTES,
    NotOursError,
    is_private,
    make_private,
    open_ours,
    read_ours,
)

SOMEBODY = 12345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_are_made_for_this_user_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_private(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)
    made = [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"]
    assert [mode(folder) for folder in made] == [0o700] * 3
    make_private(made[2])  # it is there already


@pytest.mark.parametrize("bits", [0o770, 0o702, 0o777, 0o1777])
def test_a_folder_that_others_can_write_to_is_refused_and_left_as_it_is(
    tmp_path: Path, bits: int
) -> None:
    folder = tmp_path / "shared place"
    folder.mkdir()
    folder.chmod(bits)
    with pytest.raises(NotOursError, match=r"can be written to by others: run `chmod go-w '"):
        make_private(folder)
    assert mode(folder) == bits
    assert not is_private(folder)


def test_a_folder_that_others_only_read_is_fine(tmp_path: Path) -> None:
    (tmp_path / "read").mkdir(mode=0o755)
    make_private(tmp_path / "read")
    assert is_private(tmp_path / "read")
    assert not is_private(tmp_path / "missing")


@pytest.mark.parametrize(("bits", "refused"), [(0o777, True), (0o1777, False), (0o755, False)])
def test_parents_are_looked_at(tmp_path: Path, bits: int, refused: bool) -> None:
    parent = tmp_path / "parent"
    (parent / "between").mkdir(parents=True)
    parent.chmod(bits)
    try:
        make_private(parent / "between" / "ours")
    except NotOursError as error:
        assert refused
        assert f"{parent} can be written to by others" in str(error)
        assert f"`chmod go-w {parent}`" in str(error)
    else:
        assert not refused


@as_root
@pytest.mark.parametrize(("group", "refused"), [(0, False), (SOMEBODY, True)])
def test_a_parent_may_belong_to_this_users_own_group(
    tmp_path: Path, group: int, refused: bool
) -> None:
    parent = tmp_path / "parent"
    parent.mkdir()
    os.chown(parent, -1, group)
    parent.chmod(0o775)
    try:
        make_private(parent / "ours")
    except NotOursError:
        assert refused
    else:
        assert not refused


@as_root
def test_somebody_elses_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, SOMEBODY, -1)
    with pytest.raises(NotOursError, match=f"belongs to user {SOMEBODY}, not to this user"):
        make_private(folder)
    assert not is_private(folder)


@contextlib.contextmanager
def as_somebody() -> Iterator[None]:
    os.seteuid(SOMEBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@as_root
def test_what_root_owns_is_not_another_users() -> None:
    with tempfile.TemporaryDirectory() as name:  # what pytest gives us cannot be entered by others
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "file").write_text("text")
        with as_somebody():
            assert not is_private(folder)
            assert read_ours(folder / "file") == ("text", False)
            with pytest.raises(NotOursError, match=f"{name} belongs to user root, not to this"):
                make_private(folder)


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("secret")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "folder").symlink_to(tmp_path)
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT):
        with pytest.raises(OSError, match="symbolic link"):
            open_ours(tmp_path / "link", flags)
    with pytest.raises(OSError, match="is no folder"):
        make_private(tmp_path / "folder")
    assert not is_private(tmp_path / "folder")


@pytest.mark.parametrize(("bits", "ours"), [(0o600, True), (0o644, True), (0o620, False),
                                            (0o602, False)])  # fmt: skip
def test_a_file_that_others_can_write_to_is_read_and_not_trusted(
    tmp_path: Path, bits: int, ours: bool
) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "file").chmod(bits)
    assert read_ours(tmp_path / "file") == ("text", ours)


@as_root
def test_somebody_elses_file_is_read_and_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    os.chown(tmp_path / "file", SOMEBODY, -1)
    assert read_ours(tmp_path / "file") == ("text", False)


def test_pipes_and_giants_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "giant").touch()
    os.truncate(tmp_path / "giant", LARGEST_BYTES + 1)
    for name in ("pipe", "giant"):
        with pytest.raises(NotOursError, match="wanted a small file"):
            read_ours(tmp_path / name)


def test_files_are_made_for_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        os.close(open_ours(tmp_path / "file", os.O_WRONLY | os.O_CREAT))
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == 0o600
