from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hud_fast.diffusion.checkpoint import (
    CheckpointFolder,
    DamagedFileError,
    read_tensors,
    write_tensors,
)

TENSORS = {
    "weight": torch.arange(12.0).reshape(3, 4).T,  # not contiguous
    "step": torch.tensor(7.0),
    "double": torch.tensor([0.1, -0.0, float("nan")], dtype=torch.float64),
    "empty": torch.zeros(0, 3),
}


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return (
        a.shape == b.shape and a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes()
    )


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    record = {"step": 3, "history": [{"loss": 0.1}], "text": "é"}
    write_tensors(tmp_path / "a.safetensors", TENSORS, record)
    tensors, found = read_tensors(tmp_path / "a.safetensors")
    assert found == record
    assert tensors.keys() == TENSORS.keys()
    assert all(same_bits(tensors[name], TENSORS[name]) for name in TENSORS)


def test_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "odd \udce9" / "a.safetensors"
    try:
        path.parent.mkdir()
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    write_tensors(path, TENSORS, {"step": 1})
    tensors, record = read_tensors(path)
    assert record == {"step": 1}
    assert all(same_bits(tensors[name], TENSORS[name]) for name in TENSORS)


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    write_tensors(tmp_path / "a.safetensors", TENSORS, {})
    assert same_bits(load_file(tmp_path / "a.safetensors")["weight"], TENSORS["weight"])


@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60)
def test_one_flipped_bit_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, where: float, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "a.safetensors"
    write_tensors(path, TENSORS, {"step": 3})
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="is damaged"):
        read_tensors(path)


@pytest.mark.parametrize("length", [0, 5, 60, -1])
def test_a_truncated_file_is_noticed(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, TENSORS, {})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedFileError, match="is damaged"):
        read_tensors(path)


def test_foreign_and_missing_files(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(DamagedFileError, match="checksum does not match"):
        read_tensors(tmp_path / "foreign.safetensors")
    with pytest.raises(FileNotFoundError, match="`path` must be a file"):
        read_tensors(tmp_path / "none.safetensors")


def test_the_newest_stay(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    (tmp_path / "notes.txt").write_text("mine")
    for step in (5, 10, 15, 100):
        folder.save(step, TENSORS, {"step": step})
    assert [path.name for path in folder.paths()] == [
        "step-0000000100.safetensors",
        "step-0000000015.safetensors",
    ]
    found = folder.newest()
    assert found is not None
    assert found[1] == {"step": 100}
    folder.clear()
    assert folder.newest() is None
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_damaged_newest_one_is_passed_over(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for step in (5, 10):
        newest = folder.save(step, TENSORS, {"step": step})
    newest.write_bytes(newest.read_bytes()[:-3])
    with pytest.warns(UserWarning, match="checkpoint left out, the one before is used"):
        found = folder.newest()
    assert found is not None
    assert found[1] == {"step": 5}


def test_all_damaged_means_none(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(5, TENSORS, {}).write_bytes(b"")
    with pytest.warns(UserWarning, match="left out"):
        assert folder.newest() is None


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    stray = tmp_path / ".step-0000000005-abc.safetensors"
    stray.write_bytes(b"half")
    assert CheckpointFolder(tmp_path).newest() is None
    assert not stray.exists()


def test_files_of_other_names_are_nobodys_checkpoints(tmp_path: Path) -> None:
    """Neither read, nor removed with the older ones, nor cleared."""
    others = ["step-final.safetensors", "step-10.safetensors", ".step-best-abc.safetensors"]
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    folder = CheckpointFolder(tmp_path, keep=1)
    assert folder.newest() is None
    for step in (5, 10):
        folder.save(step, TENSORS, {"step": step})
    assert [path.name for path in folder.paths()] == ["step-0000000010.safetensors"]
    folder.clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_a_failing_write_leaves_the_old_files(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(5, TENSORS, {"step": 5})
    with pytest.raises(TypeError, match="not JSON serializable"):
        folder.save(10, TENSORS, {"step": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000005.safetensors"]


def test_a_full_disk_is_an_oserror_and_leaves_the_old_states(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = CheckpointFolder(tmp_path)
    folder.save(1, {"a": torch.ones(3)}, {"step": 1})
    monkeypatch.setattr("hud_fast._files.os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        folder.save(2, {"a": torch.zeros(3)}, {"step": 2})
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000001.safetensors"]
