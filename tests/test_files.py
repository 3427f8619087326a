"""Atomic writing: the old file or the new one, never a part, and nothing left lying about."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

import pytest

from hud_fast import _files
from hud_fast._files import atomic_dir, atomic_path, atomic_write, sweep, utf8_path


def test_a_file_appears_whole(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with atomic_write(target, "w") as file:
        file.write("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert [p.name for p in target.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("writer", [atomic_write, atomic_path])
def test_a_failure_leaves_the_old_file(tmp_path, writer):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def fail():
        with writer(target):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_folder_replaces_the_old_one_whole(tmp_path):
    target = tmp_path / "model"
    for text in ("one", "two"):
        with atomic_dir(target) as folder:
            (folder / f"{text}.txt").write_text(text)
    assert [p.name for p in target.iterdir()] == ["two.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    target = tmp_path / "model"
    with atomic_dir(target) as folder:
        (folder / "one.txt").write_text("one")

    def fail():
        with atomic_dir(target) as folder:
            (folder / "two.txt").write_text("two")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [p.name for p in target.iterdir()] == ["one.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_folder_killed_between_its_renames_is_put_in_its_place(tmp_path, monkeypatch, renames):
    """As kill -9 would leave it: nothing cleans up."""
    target = tmp_path / "model"
    target.mkdir()
    (target / "old.txt").write_text("old")
    with monkeypatch.context() as patch:
        rename, done = _files.Path.rename, []

        def some(self, to):
            if len(done) == renames:
                raise KeyboardInterrupt
            done.append(to)
            return rename(self, to)

        patch.setattr(_files.Path, "rename", some)
        patch.setattr(_files.shutil, "rmtree", lambda *_, **__: None)
        with contextlib.suppress(KeyboardInterrupt), atomic_dir(target) as folder:
            (folder / "new.txt").write_text("new")
    sweep(target)
    assert [p.name for p in target.iterdir()] == ["old.txt" if renames == 0 else "new.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_only_what_bears_our_mark_is_swept(tmp_path):
    mine = [
        ".a-abcdefgh.npy",
        ".a-hud-fast-abcdefgh.mat",
        ".ab-hud-fast-abcdefgh.npy",
        "a-hud-fast-abcdefgh.npy",
    ]
    for name in (*mine, ".a-hud-fast-abcdefgh.npy"):
        (tmp_path / name).write_text("")
    sweep(tmp_path / "a.npy")
    sweep(tmp_path / "nowhere" / "a.npy")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(mine)


def test_a_name_that_is_not_utf8_can_be_read_by_one_that_is(tmp_path: Path) -> None:
    plain = tmp_path / "plain \xe9"
    with utf8_path(plain) as name:
        assert name == plain
    odd = tmp_path / "odd \udce9"
    try:
        odd.write_bytes(b"content")
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    with utf8_path(odd) as name:
        assert str(name).isprintable()
        assert name.read_bytes() == b"content"
