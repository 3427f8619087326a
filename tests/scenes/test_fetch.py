"""fetch: every place that is looked in, every way a download goes wrong. The servers are on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from hud_fast.scenes import CATALOGUE, fetch, load_scene
from hud_fast.scenes.catalogue import File
from hud_fast.scenes.fetch import at_hand

KEY = "jasper-ridge"


@pytest.fixture(autouse=True)
def _no_places_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HUD_FAST_DATA", raising=False)
    monkeypatch.setenv("HUD_FAST_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small Jasper Ridge with labels; the catalogue is told its size and checksum."""
    path = tmp_path / "made.mat"
    savemat(path, {"Y": np.arange(24.0).reshape(2, 12), "nRow": 3, "nCol": 4})
    data = path.read_bytes()
    path.unlink()
    entry = dataclasses.replace(
        CATALOGUE[KEY],
        cube=dataclasses.replace(CATALOGUE[KEY].cube, sha256=hashlib.sha256(data).hexdigest()),
        shape=(3, 4, 2),
        wavelengths=None,
    )
    monkeypatch.setitem(CATALOGUE, KEY, entry)
    return data


class Server:
    """Answers each path with a status and a body."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                status, body = outer.answers.get(self.path, (404, b"not here"))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/data"


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.http.serve_forever, daemon=True)
    thread.start()
    yield running
    running.http.shutdown()
    running.http.server_close()
    thread.join()


NAME = CATALOGUE[KEY].cube.name


def give_address(monkeypatch: pytest.MonkeyPatch, key: str, url: str, **changes: object) -> None:
    """Tell the catalogue that the cube lies there."""
    entry = CATALOGUE[key]
    cube = dataclasses.replace(entry.cube, url=url)
    monkeypatch.setitem(CATALOGUE, key, dataclasses.replace(entry, cube=cube, **changes))


@pytest.mark.parametrize("tail", ["", "/", f"/{NAME}"])
def test_download_from_a_mirror(server: Server, content: bytes, tmp_path: Path, tail: str) -> None:
    server.answers[f"/data/{NAME}"] = (200, content)
    seen: list[tuple[int, int]] = []
    path = fetch(KEY, mirror=server.url + tail, progress=lambda *step: seen.append(step))
    assert path == tmp_path / "cache" / NAME
    assert path.read_bytes() == content
    assert seen[-1] == (len(content), len(content))
    assert fetch(KEY) == path  # now from the cache
    assert len(server.asked) == 1


def test_download_from_the_canonical_address(
    server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    labels = File("gt.mat", "gt", hashlib.sha256(b"labels").hexdigest(), f"{server.url}/b/gt.mat")
    give_address(monkeypatch, KEY, f"{server.url}/a/their%20cube.mat", labels=labels)
    server.answers["/data/a/their%20cube.mat"] = (200, content)
    server.answers["/data/b/gt.mat"] = (200, b"labels")
    path = fetch(KEY, folder=tmp_path / "here")
    assert path == tmp_path / "here" / NAME
    assert (tmp_path / "here" / "gt.mat").read_bytes() == b"labels"
    with pytest.warns(UserWarning, match="labels left out: .* must be a MATLAB file"):
        assert load_scene(path).shape == (3, 4, 2)


def test_the_error_says_what_the_file_is_called_there(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_address(monkeypatch, KEY, "http://127.0.0.1:9/their%20cube.mat")
    with pytest.raises(OSError, match=rf"get their cube.mat \(sha256 .*cache as {NAME}, set"):
        fetch(KEY)


def test_labels_in_the_cube_s_own_file_are_one_download(
    server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = dataclasses.replace(CATALOGUE[KEY].cube, variable="gt")
    give_address(monkeypatch, KEY, f"{server.url}/a.mat", labels=labels)
    server.answers["/data/a.mat"] = (200, content)
    fetch(KEY)
    assert server.asked == ["/data/a.mat"]


@pytest.mark.parametrize("tail", ["", f"/{NAME}"])
def test_altered_pixels_come_along(
    server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tail: str
) -> None:
    savemat(tmp_path / "made.mat", {"which": np.eye(3, 4)})
    altered = (tmp_path / "made.mat").read_bytes()
    file = File("altered.mat", "which", hashlib.sha256(altered).hexdigest())
    monkeypatch.setitem(CATALOGUE, KEY, dataclasses.replace(CATALOGUE[KEY], altered=file))
    server.answers[f"/data/{NAME}"] = (200, content)
    message = (
        r"could not get the altered pixels of Jasper Ridge: .*altered.mat \(refused with HTTP status "
        rf"404\).*get altered.mat \(sha256 {file.sha256}\) from {CATALOGUE[KEY].page}"
    )
    with pytest.raises(OSError, match=message):
        fetch(KEY, mirror=server.url + tail)
    assert not at_hand(KEY)  # the cube alone is not enough
    server.answers["/data/altered.mat"] = (200, altered)
    path = fetch(KEY, mirror=server.url + tail)
    assert path.with_name("altered.mat").read_bytes() == altered
    assert at_hand(KEY)
    asked = [f"/data/{NAME}", "/data/altered.mat", "/data/altered.mat"]
    assert server.asked == asked
    np.testing.assert_array_equal(load_scene(KEY).valid, np.eye(3, 4) == 0)
    assert server.asked == asked  # now from the cache


def test_labels_that_cannot_be_had_do_no_harm(
    server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = File("gt.mat", "gt", "0" * 64)
    monkeypatch.setitem(CATALOGUE, KEY, dataclasses.replace(CATALOGUE[KEY], labels=labels))
    server.answers[f"/data/{NAME}"] = (200, content)
    path = fetch(KEY, mirror=server.url)
    assert path.is_file()
    assert not path.with_name("gt.mat").exists()


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (403, b"Forbidden", "refused with HTTP status 403"),
        (404, b"", "refused with HTTP status 404"),
        (200, b"<!DOCTYPE html><title>Just a moment</title>", "a web page instead of the file"),
        (200, b"\n\n<html>", "a web page instead of the file"),
        (200, b"other bytes", "wrong SHA-256"),
    ],
)
def test_wrong_downloads_say_how_to_place_the_file(
    server: Server, content: bytes, tmp_path: Path, status: int, body: bytes, message: str
) -> None:
    server.answers[f"/data/{NAME}"] = (status, body)
    with pytest.raises(OSError, match=message) as caught:
        fetch(KEY, mirror=server.url)
    text = str(caught.value)
    assert "\n" not in text
    for part in (NAME, CATALOGUE[KEY].cube.sha256, CATALOGUE[KEY].page, str(tmp_path / "cache")):
        assert part in text
    assert not any((tmp_path / "cache").iterdir())


def test_offline(content: bytes) -> None:
    with pytest.raises(OSError, match=r"no connection: ConnectionError.*By hand: get"):
        fetch(KEY, mirror="http://127.0.0.1:9")


def test_a_mirror_that_is_no_address(content: bytes) -> None:
    with pytest.raises(OSError, match=r"fetch: could not get Jasper Ridge.*By hand"):
        fetch(KEY, mirror="nonsense")


def test_a_scene_without_an_address(content: bytes) -> None:
    with pytest.raises(OSError, match="no address is known to download it from"):
        fetch(KEY)


@pytest.mark.parametrize("below", ["", "jasper_ridge", "anything"])
def test_the_local_folder_comes_first(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    place = tmp_path / "mine" / below
    place.mkdir(parents=True)
    (place / NAME).write_bytes(content)
    monkeypatch.setenv("HUD_FAST_DATA", str(tmp_path / "mine"))
    assert fetch(KEY) == place / NAME
    assert load_scene(KEY).shape == (3, 4, 2)


def test_a_folder_of_the_same_name_does_not_hide_a_scene(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine" / KEY).mkdir(parents=True)
    (tmp_path / "mine" / KEY / NAME).write_bytes(content)
    monkeypatch.setenv("HUD_FAST_DATA", str(tmp_path / "mine"))
    monkeypatch.chdir(tmp_path / "mine")
    assert load_scene(KEY).shape == (3, 4, 2)


def test_a_mirror_may_be_a_folder(content: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert fetch(KEY, mirror=str(tmp_path)) == tmp_path / NAME
    (tmp_path / "empty").mkdir()
    with pytest.raises(OSError, match=f"no {NAME} in it"):
        fetch(KEY, mirror=str(tmp_path / "empty"))


def test_a_bad_local_copy_is_passed_by_and_named(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUD_FAST_DATA", str(tmp_path))
    (tmp_path / NAME).write_bytes(content[:-5])
    with pytest.raises(OSError, match=f"{NAME} .*broken one.*no address is known"):
        fetch(KEY)
    savemat(tmp_path / NAME, {"X": np.ones((3, 3))})
    with pytest.raises(OSError, match="it has no variable Y"):
        fetch(KEY)
    savemat(tmp_path / NAME, {"Y": np.ones((3, 3))})
    with pytest.raises(OSError, match=r"its Y has shape \(3, 3\), not \(3, 4, 2\)"):
        fetch(KEY)


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"^fetch: `name` must be one of .* mean jasper-ridge"):
        fetch("jasper")


def test_indian_pines_without_internet(tmp_path: Path) -> None:
    pytest.importorskip("tensorly")
    scene = load_scene("indian-pines")
    assert scene.source == tmp_path / "cache" / "Indian_pines_corrected.mat"
    assert scene.shape == (145, 145, 200)
    assert scene.dtype == np.uint16
    assert scene.labels is not None
    assert scene.labels.max() == 16
    assert scene.wavelengths is not None
    assert scene.wavelengths[0] == pytest.approx(400.02)
    assert scene.endmember_count == 16
    assert load_scene("indian-pines").source == scene.source  # from the cache


def test_tensorly_s_values_are_the_canonical_ones(data_dir: Path) -> None:
    pytest.importorskip("tensorly")
    real = load_scene(data_dir / "indian_pines" / "Indian_pines_corrected.mat")
    copy = load_scene("indian-pines")
    np.testing.assert_array_equal(copy.cube, real.cube)
    np.testing.assert_array_equal(copy.labels, real.labels)  # type: ignore[arg-type]


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorly")
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("HUD_FAST_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"^fetch: `folder` must be writable, got .*file"):
        fetch("indian-pines")


def test_without_tensorly_the_message_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    give_address(monkeypatch, "indian-pines", "http://127.0.0.1:9/a.mat")
    with pytest.raises(
        OSError, match=r"not installed: pip install 'hud-fast\[demo\]'.*127.0.0.1:9"
    ):
        fetch("indian-pines")


def test_an_explicit_mirror_goes_before_tensorly(server: Server) -> None:
    with pytest.raises(OSError, match="refused with HTTP status 404"):
        fetch("indian-pines", mirror=server.url)
    assert server.asked == ["/data/Indian_pines_corrected.mat"]
