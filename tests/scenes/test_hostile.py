"""Scene files that are damaged or made to do harm: one clear error that names the file, or the good part of it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from hud_fast.scenes import Scene, hdf5_process, load_scene, save_scene, trust

CUBE = np.random.default_rng(0).integers(1, 1000, (9, 10, 14)).astype(np.int16)
FLOATS = CUBE.astype("<f4").tobytes(order="F")


def refused(path: Path, *words: str, kind: type[Exception] = OSError, **options: Any) -> None:
    """Loading ends in one error of ours, which names the file and has these words."""
    with pytest.raises(kind, match=r"^load_scene: ") as caught:
        load_scene(path, **options)
    text = str(caught.value)
    assert str(path) in text
    assert text.isprintable()
    assert len(text) < 600 + len(str(path))
    for word in words:
        assert word in text


# MATLAB v5, element by element


def element(kind: int, data: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "II", kind, len(data)) + data + bytes(-len(data) % 8)


def v5(
    path: Path,
    *,
    order: str = "<",
    packed: bool = False,
    flags: tuple[int, int] = (6, 7),  # type of the element, class
    sizes: tuple[int, tuple[int, ...]] = (5, CUBE.shape),
    name: tuple[int, bytes] = (1, b"cube"),
    values: tuple[int, bytes] = (7, FLOATS),
    rest: bytes = b"",
) -> Path:
    """A v5 file of one variable, each of its elements (type, content) as given."""
    parts = [
        element(flags[0], struct.pack(order + "II", flags[1], 0), order),
        element(sizes[0], struct.pack(f"{order}{len(sizes[1])}i", *sizes[1]), order),
        element(name[0], name[1], order),
        element(values[0], values[1], order),
    ]
    array = element(14, b"".join(parts), order) + rest
    if packed:
        stream = zlib.compress(array)
        array = struct.pack(order + "II", 15, len(stream)) + stream
    ending = struct.pack(order + "H", 0x0100) + (b"IM" if order == "<" else b"MI")
    path.write_bytes(b"MATLAB 5.0".ljust(116) + bytes(8) + ending + array)
    return path


packed = pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])


@packed
@pytest.mark.parametrize("order", ["<", ">"])
def test_v5_in_both_byte_orders_as_scipy_reads_it(tmp_path: Path, order: str, packed: bool) -> None:
    data = CUBE.astype(order + "f4").tobytes(order="F")
    path = v5(tmp_path / "a.mat", order=order, packed=packed, values=(7, data))
    scene = load_scene(path)
    np.testing.assert_array_equal(scene.cube, CUBE)
    np.testing.assert_array_equal(scene.cube, loadmat(path)["cube"])


@packed
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"flags": (0x46, 7)}, "the flags of an array are 8 bytes of type 70"),
        ({"flags": (6, 99)}, "unknown class 99"),
        ({"sizes": (0x45, CUBE.shape)}, "the sizes of an array are 12 bytes of type 69"),
        ({"sizes": (5, (-9, -10, 14))}, "sizes (-9, -10, 14)"),
        ({"sizes": (5, (1,) * 40)}, "the sizes of an array are 160 bytes"),
        ({"sizes": (5, (2**31 - 1, 2**31 - 1, 4))}, "cube has 5040 bytes for (2147483647,"),
        ({"name": (0x41, b"cube")}, "the name of an array are 4 bytes of type 65"),
        # scipy takes these for places in its table of types, and the process ends
        ({"values": (0x47, FLOATS)}, "cube is stored as type 71, which is none of numbers"),
        ({"values": (8, FLOATS)}, "cube is stored as type 8"),
        ({"values": (16, FLOATS)}, "cube is stored as type 16"),
        ({"values": (7, FLOATS[:-4])}, "cube has 5036 bytes for (9, 10, 14)"),
    ],
)
def test_wrong_elements_of_v5(tmp_path: Path, wrong: dict, words: str, packed: bool) -> None:
    refused(v5(tmp_path / "a.mat", packed=packed, **wrong), "must be a whole .mat file", words)


def test_streams_of_v5_end_where_their_array_does(tmp_path: Path) -> None:
    refused(v5(tmp_path / "a.mat", packed=True, rest=bytes(64)), "more in a zlib stream")
    path = v5(tmp_path / "b.mat", packed=True)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the stream's checksum
    path.write_bytes(data)
    refused(path, "incorrect data check")


def test_one_flipped_bit_in_scipys_own_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"cube": CUBE})
    data = bytearray(path.read_bytes())
    place = data.index(b"cube") + 4
    assert data[place] == 3
    data[place] ^= 0x40
    path.write_bytes(data)
    refused(path, "type 67")


# MATLAB v7.3


def h5(path: Path, fill: Callable[[h5py.File], Any], cube: bool = False) -> Path:
    with h5py.File(path, "w") as file:
        if cube:
            file["cube"] = CUBE
        fill(file)
    return path


def virtual(source: str) -> Callable[[h5py.File], Any]:
    def fill(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(CUBE.shape, "f8")
        layout[...] = h5py.VirtualSource(source, "hidden", CUBE.shape)
        file.create_virtual_dataset("hidden", layout)

    return fill


def external(file: h5py.File) -> None:
    file.create_dataset("hidden", CUBE.shape, "u1", external=[("/etc/passwd", 0, CUBE.size)])


def link(to: Any) -> Callable[[h5py.File], Any]:
    return lambda file: file.__setitem__("hidden", to)


OUTSIDE = {
    "external link": (link(h5py.ExternalLink("secret.mat", "hidden")), "a link, which is not"),
    "soft link": (link(h5py.SoftLink("/nowhere")), "a link, which is not followed"),
    "external storage": (external, "values in another file, which are not read"),
    "virtual dataset": (virtual("secret.mat"), "a virtual dataset, which is not followed"),
    "virtual dataset of itself": (virtual("."), "a virtual dataset"),
    "type": (link(np.dtype("f4")), "datatype"),
    "class that is none": (
        lambda file: file.create_dataset("hidden", data=CUBE).attrs.update({"MATLAB_class": 5}),
        "(5)",
    ),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_nothing_outside_of_an_hdf5_file_is_read(tmp_path: Path, case: str) -> None:
    fill, words = OUTSIDE[case]
    h5(tmp_path / "secret.mat", lambda file: file.create_dataset("hidden", data=CUBE))
    path = h5(tmp_path / "a.mat", fill)
    refused(path, "must hold a cube", words, kind=ValueError)
    refused(path, "`variable` must be one of", words, kind=ValueError, variable="hidden")
    # a good cube beside it loads
    scene = load_scene(h5(tmp_path / "b.mat", fill, cube=True))
    np.testing.assert_array_equal(scene.cube, CUBE)


def test_an_hdf5_dataset_asks_for_no_more_than_it_stores(tmp_path: Path) -> None:
    def little(file: h5py.File) -> None:
        file.create_dataset("cube", (10**5, 10**5, 100), "f4", chunks=(8, 8, 8))[0, 0, 0] = 1

    refused(h5(tmp_path / "a.mat", little), "would have 4000000000000 bytes")
    none = h5(tmp_path / "b.mat", lambda f: f.create_dataset("cube", (9, 9, 9), "f4"))
    refused(none, "cube has no values")


def test_libhdf5_reads_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end, or a request that is interrupted, is one error; the next file is read by the next process."""
    path = h5(tmp_path / "a.mat", lambda file: file.__setitem__("cube", CUBE))
    with contextlib.suppress(KeyboardInterrupt), hdf5_process.child() as child:
        child.ask(path, "cube")
        raise KeyboardInterrupt
    np.testing.assert_array_equal(load_scene(path).cube, CUBE)
    with hdf5_process.child() as child:
        assert child._process is not None
        child._process.kill()  # as its alarm does when nothing is asked for a minute
        child._process.wait()
    np.testing.assert_array_equal(load_scene(path).cube, CUBE)
    read = hdf5_process.Child.fill

    def fill(child: hdf5_process.Child, array: np.ndarray) -> None:
        assert child._process is not None
        child._process.kill()
        child._process.wait()
        read(child, array)

    with monkeypatch.context() as patch:
        patch.setattr(hdf5_process.Child, "fill", fill)
        refused(path, "libhdf5 ended while it read it, or came to no end (exit code -9)")
    np.testing.assert_array_equal(load_scene(path).cube, CUBE)


# NumPy


def npz(path: Path, method: int = zipfile.ZIP_STORED, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(f"{name}.npy", data)
    return path


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


HEADERS = {
    "an open bracket": "{'descr': '<i2', 'fortran_order': False, 'shape': (9, 10, 14",
    "an open text": "{'descr': '<i2', 'fortran_order': False, 'shape': '''",
    "too long": "(" * 9000,
    "negative sizes": "{'descr': '<i2', 'fortran_order': False, 'shape': (-9, -10, 14)}",
    "sizes beyond all": f"{{'descr': '<i2', 'fortran_order': False, 'shape': ({10**30}, 1, 2)}}",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (9, 10, 14)}",
    "no such type": "{'descr': 'zz', 'fortran_order': False, 'shape': (9, 10, 14)}",
}


@pytest.mark.parametrize("text", HEADERS.values(), ids=HEADERS)
def test_headers_of_numpy_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(header(text) + CUBE.tobytes())
    refused(path)
    beside = npz(tmp_path / "a.npz", cube=header(text) + CUBE.tobytes())
    refused(beside, kind=ValueError if "|O" in text else OSError)


def test_an_npz_under_the_name_of_an_npy(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(npz(tmp_path / "a.npz", cube=npy(CUBE)).read_bytes())
    refused(path, "must be a whole .npy file")
    with pytest.raises(OSError, match=r"must be a whole .npy file"):
        load_scene(tmp_path / "a.npz", mask=path)


def test_a_bad_byte_in_a_compressed_npz(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", zipfile.ZIP_DEFLATED, cube=npy(CUBE))
    data = bytearray(path.read_bytes())
    data[400:420] = bytes(20)
    path.write_bytes(data)
    refused(path, "must be a whole .npz file")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip_methods_without_a_limit_are_not_inflated(tmp_path: Path, method: int) -> None:
    refused(npz(tmp_path / "a.npz", method, cube=npy(CUBE)), "compressed by the method")


def test_an_npz_asks_for_no_more_than_it_holds(tmp_path: Path) -> None:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (10000, 10000, 10)}"
    refused(npz(tmp_path / "a.npz", cube=header(text) + bytes(1000)), "cube has 1000 bytes for")


FACTS = {
    "not of ours": {"format": "mat"},
    "a name of another type": {"name": 5},
    "a scale of another type": {"scale": "x"},
    "a scale of zero": {"scale": 0},
    "rgb bands that are words": {"rgb_bands": ["a", "b", "c"]},
    "one rgb band": {"rgb_bands": [1]},
    "an endless band": {"rgb_bands": [1e999, 1, 2]},
    "labels that are numbers": {"label_names": [1, 2]},
    "a place that is no text": {"geo": {"map info": 3}},
    "a list": [1, 2],
    "nothing": None,
}


@pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS)
def test_forged_facts_of_our_own_files(tmp_path: Path, facts: Any) -> None:
    ours = {"hud_fast_scene": npy(1), "cube": npy(CUBE), "facts": npy(json.dumps(facts))}
    refused(npz(tmp_path / "a.npz", **ours), kind=Exception)


@pytest.mark.parametrize(
    "change",
    [
        {"facts": npy("{" * 5000)},
        {"facts": npy("[" * 100000)},
        {"facts": npy('{"name": "a"}').replace(b"a\0\0\0", b"a\0\x7f\0")},
        {"facts": npy(3.0)},
        {"facts": npy([["{}"]])},
        {"hud_fast_scene": npy(2)},
        {"cube": npy(np.array("text"))},
        {"truth_endmembers": npy(np.ones((3, 14)))},
        {"truth_endmembers": npy(np.ones((3, 14))), "truth_abundances": npy(np.ones((9, 9, 3)))},
        {"labels": npy(np.ones((3, 3), int))},
    ],
)
def test_forged_arrays_of_our_own_files(tmp_path: Path, change: dict[str, bytes]) -> None:
    ours = {"hud_fast_scene": npy(1), "cube": npy(CUBE), "facts": npy("{}"), **change}
    refused(npz(tmp_path / "a.npz", **ours), kind=Exception)


# ENVI


@pytest.mark.parametrize(
    "extra",
    ["x\n" * 21_000, f"description = {{{'a' * (1 << 20)}}}\n"],
    ids=["lines", "size"],
)
def test_headers_of_envi_have_a_limit(tmp_path: Path, extra: str) -> None:
    path = save_scene(CUBE, tmp_path / "a.hdr")
    path.write_text(path.read_text() + extra)
    refused(path, "up to 1048576 bytes and 20000 lines", kind=ValueError)


@pytest.mark.parametrize("bands", ["inf, 1, 2", "a, 1, 2", "nan, 1, 2", "1, 2, 99"])
def test_bands_for_the_eye_that_are_none_are_passed_by(tmp_path: Path, bands: str) -> None:
    path = save_scene(CUBE, tmp_path / "a.hdr")
    path.write_text(path.read_text() + f"default bands = {{{bands}}}\n")
    assert load_scene(path).rgb_bands is None


def test_words_of_a_header_are_cleaned_and_short(tmp_path: Path) -> None:
    path = save_scene(CUBE, tmp_path / "a.hdr")
    text = path.read_text()
    path.write_text(text.replace("ENVI Standard", "\x1b[31mclassification" + "n" * 9000))
    refused(path, "of type ?[31mclassification", kind=ValueError)
    path.write_text(text.replace("samples = 10", "samples = " + "1" * 9000))
    refused(path, "`samples` must be a whole number", kind=ValueError)


# any file


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".hdr"])
def test_memory_is_asked_for_before_it_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = save_scene(CUBE, tmp_path / f"a{suffix}")
    monkeypatch.setattr(trust, "available_memory", lambda: 4 * CUBE.size - 1)
    name = "a.img" if suffix == ".hdr" else path.name
    with pytest.raises(
        MemoryError, match=rf"^load_scene: `path` must fit into memory, got .*{name}"
    ):
        load_scene(path)
    monkeypatch.setattr(trust, "available_memory", lambda: None)
    load_scene(path)


def test_available_memory() -> None:
    free = trust.available_memory()
    assert free is None or 0 < free < 1 << 50


def test_want_of_memory_inside_a_library_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(trust.TooLarge, match=r"got a.mat: no room"), trust.whole(Path("a.mat")):
        raise MemoryError("no room")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".hdr"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    os.mkfifo(path)
    refused(path, "must be a regular file")


def test_files_of_very_many_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"v{number:03d}": np.ones((2, 2)) for number in range(40)}
    savemat(tmp_path / "a.mat", many)
    savemat(tmp_path / "b.mat", many, format="4")
    np.savez(tmp_path / "c.npz", **many)  # type: ignore[arg-type]
    h5(tmp_path / "d.mat", lambda file: [file.__setitem__(*item) for item in many.items()])
    for path in tmp_path.iterdir():  # the list in the error stays short
        refused(path, "v000 2x2", "and 28 more", kind=ValueError)
    for module in (trust, hdf5_process):
        monkeypatch.setattr(module, "MOST_VARIABLES", 30)
    for path in tmp_path.iterdir():
        refused(path, "it has 40 variables, more than 30")


def test_names_of_variables_are_cleaned(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\nFAKE LINE: done" + "n" * 9000
    path = h5(tmp_path / "a.mat", lambda f: [f.__setitem__(evil + n, CUBE) for n in "ab"])
    refused(path, "?]0;owned? FAKE LINE: done", kind=ValueError)


@pytest.mark.parametrize(
    "name", ["~nobody-here/x.npy", "x" * 5000 + ".npy", "a\0b.npy", "\ud800.npy"]
)
def test_names_that_no_file_can_have(name: str) -> None:
    with pytest.raises(OSError, match=r"^load_scene: `path_or_name` must be"):
        load_scene(name)


def test_a_file_name_that_is_not_utf8_gives_a_name_that_can_be_shown(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/plain\xe9 \x1b[31m$x_{$.npy"))
    try:
        np.save(path, CUBE)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    scene = load_scene(path)
    assert scene.name == "plain? ?[31m$x_{$"
    assert load_scene(save_scene(scene, tmp_path / "a.npz")).name == scene.name
    assert Scene(CUBE, name="n" * 999).name == "n" * 197 + "..."


def test_a_scenes_text_overrules_no_field_of_a_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    geo = {"samples": "1", "map info": "{UTM,\nlines = 3", "x\nbands": "2"}
    scene = Scene(CUBE, name="Ca\u00f1on", geo=geo)
    monkeypatch.setattr("locale.getpreferredencoding", lambda **_: "ascii")
    path = save_scene(scene, tmp_path / "a.hdr")
    assert load_scene(path).shape == scene.shape
    assert "Ca?on" in path.read_text()


def test_a_variable_that_matlab_cannot_name_is_saved_as_cube(tmp_path: Path) -> None:
    scene = load_scene(h5(tmp_path / "a.mat", lambda file: file.__setitem__("my cube", CUBE)))
    assert load_scene(save_scene(CUBE, tmp_path / "b.mat", like=scene)).variable == "cube"


@pytest.mark.parametrize("options", [{"shape": "ab"}, {"shape": (2.5, 3)}, {"shape": (0, 3)}])
def test_a_shape_that_is_none(tmp_path: Path, options: dict) -> None:
    np.save(tmp_path / "a.npy", CUBE.reshape(90, 14))
    with pytest.raises((TypeError, ValueError), match=r"^load_scene: `shape` must be \(H, W\)"):
        load_scene(tmp_path / "a.npy", layout="PC", **options)
    with pytest.raises(TypeError, match="`rgb_bands` must be three bands, got 'abc'"):
        load_scene(save_scene(CUBE, tmp_path / "b.npy"), rgb_bands="abc")  # type: ignore[arg-type]
