"""Outputs that cannot be written: full disk, no permission, a folder in the way. Nothing half-written stays."""

from __future__ import annotations

import contextlib
import errno
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from hud_fast import _files
from hud_fast.scenes import load_scene, save_scene

COUNTS = np.random.default_rng(0).integers(500, 9000, (40, 40, 30)).astype(np.uint16)
KINDS = [("a.mat", {}), ("a.mat", {"version": "7.3"}), ("a.hdr", {}), ("a.npy", {}), ("a.npz", {})]


def refuse(*_: Any, **__: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_a_disk_that_is_full_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict
) -> None:
    monkeypatch.setattr(_files.os, "fsync", refuse)  # where delayed allocation finds out
    with pytest.raises(
        OSError, match=r"^save_scene: `path` must be writable, got .*No space left"
    ) as caught:
        save_scene(COUNTS, tmp_path / name, **options)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def small_files_only() -> Iterator[None]:
    """The kernel refuses to let a file grow beyond 10 kB: a failure in the middle of writing.

    Only for the call itself: the limit also holds for pytest's own output, where that goes to a file.
    """
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize(("name", "options"), [k for k in KINDS if "version" not in k[1]])
def test_a_disk_that_fills_up_in_the_middle(tmp_path: Path, name: str, options: dict) -> None:
    with (
        pytest.raises(OSError, match=r"^save_scene: `path` must be writable, got .*too large"),
        small_files_only(),
    ):
        save_scene(COUNTS, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_hdf5_that_fills_up_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import h5py

    monkeypatch.setattr(h5py.Group, "create_dataset", refuse)
    with pytest.raises(OSError, match=r"^save_scene: `path` must be writable.*No space left"):
        save_scene(COUNTS, tmp_path / "a.mat", version="7.3")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_the_old_file_survives_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict
) -> None:
    path = save_scene(COUNTS, tmp_path / name, **options)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(_files.os, "fsync", refuse)
        with pytest.raises(OSError, match="No space left"):
            save_scene(COUNTS // 2, path, **options)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    np.testing.assert_array_equal(
        load_scene(path, layout="HWC" if name in ("a.mat", "a.npy") else None).cube, COUNTS
    )


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_a_file_where_a_folder_should_be(tmp_path: Path, name: str, options: dict) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match=r"^save_scene: `path` must be writable, got .*file"):
        save_scene(COUNTS, tmp_path / "file" / name, **options)


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_a_folder_where_the_file_should_be(tmp_path: Path, name: str, options: dict) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(
        IsADirectoryError, match=r"^save_scene: `path` must be a file, got the folder"
    ):
        save_scene(COUNTS, tmp_path / name, **options)


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_no_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict
) -> None:
    def deny(*_: Any, **__: Any) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(_files.tempfile, "mkstemp", deny)  # chmod would not stop root
    with pytest.raises(
        PermissionError, match=r"^save_scene: .* got .*: Permission denied"
    ) as caught:
        save_scene(COUNTS, tmp_path / name, **options)
    assert caught.value.errno == errno.EACCES


def test_new_folders_are_made(tmp_path: Path) -> None:
    assert save_scene(COUNTS, tmp_path / "x" / "y" / "a.npy").is_file()
