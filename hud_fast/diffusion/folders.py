"""Folders of a saved model: config.json and files of tensors, written all or nothing.

Everything is readable without this package: JSON for settings, safetensors for numbers, no pickle.
Each file carries a checksum of its content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hud_fast._files import atomic_dir
from hud_fast.diffusion.checkpoint import DamagedFileError, read_tensors, write_tensors

CONFIG = "config.json"


@dataclass(frozen=True)
class FolderKind:
    """One kind of folder: who writes it, and what lies in it beside config.json."""

    owner: str  # the class with `save` and `load`, for error texts
    what: str  # in words, for error texts
    format: str
    version: int  # raised when an older reader would misread the folder
    files: tuple[str, ...]  # of tensors

    def write(
        self,
        folder: Path,
        config: Mapping[str, Any],
        tensors: Mapping[str, Mapping[str, Tensor]],
    ) -> None:
        """Write settings and one dictionary of tensors a file to `folder`.

        Raises
        ------
        FileExistsError
            If `folder` holds anything but an older folder of this kind.
        """
        from hud_fast import __version__

        foreign = self.foreign(folder)  # the folder is replaced as a whole
        if foreign is not None:
            raise FileExistsError(
                f"{self.owner}.save: `folder` must be new, empty or a saved {self.what}, got {folder}{foreign}"
            )
        facts = {
            "format": self.format,
            "version": self.version,
            "hud_fast": __version__,
            **config,
        }
        with atomic_dir(folder) as temporary:
            for name in self.files:
                write_tensors(temporary / name, tensors[name], {})
            text = json.dumps({**facts, "sha256": _digest(facts)}, indent=2)
            (temporary / CONFIG).write_text(text + "\n", encoding="utf-8")

    def read(self, folder: Path) -> tuple[dict[str, Any], list[dict[str, Tensor]]]:
        """The settings, and the tensors of each file.

        Raises
        ------
        FileNotFoundError
            If there is no such folder, or it is of no or another kind.
        DamagedFileError
            If a file is missing, truncated or altered.
        ValueError
            If it was written by a newer version of the package.
        """
        config = self._read_config(folder)
        try:
            return config, [read_tensors(folder / name)[0] for name in self.files]
        except FileNotFoundError as error:
            raise DamagedFileError(
                f"{self.owner}.load: {folder} is damaged (a file is missing: {error})"
            ) from error
        except DamagedFileError as error:
            raise DamagedFileError(f"{self.owner}.load: {error}") from error

    def holds(self, folder: Path) -> bool:
        """Whether `folder` is of this kind, as far as its config.json says."""
        return (folder / CONFIG).is_file() and not self._other_format(folder)

    def foreign(self, folder: Path) -> str | None:
        """What keeps `folder` from being replaced by one of this kind, in words that follow its name; None: nothing."""
        if folder.exists() and not folder.is_dir():
            return ", a file"
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            known = entry.name in (CONFIG, *self.files) and not entry.is_symlink()
            if not (known and entry.is_file()):
                return f" with {entry.name} in it"
        if (folder / CONFIG).is_file() and self._other_format(folder):
            return f" with {CONFIG} of another kind in it"
        return None

    def _other_format(self, folder: Path) -> bool:
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        except (ValueError, RecursionError):  # damaged: reading it says so, writing replaces it
            return False
        return not isinstance(config, dict) or config.get("format") != self.format

    def _read_config(self, folder: Path) -> dict[str, Any]:
        path = folder / CONFIG
        must = f"{self.owner}.load: `folder` must hold a {self.what} written by {self.owner}.save"
        if not path.is_file():
            missing = (
                f"{folder} without {CONFIG}" if folder.exists() else "a folder that is not there"
            )
            inside = (
                sorted(p.name for p in folder.iterdir() if self.holds(p)) if folder.is_dir() else []
            )
            hint = f"; what it holds in folders: {', '.join(inside)}" if inside else ""
            raise FileNotFoundError(f"{must}, got {missing}: {folder}{hint}")
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise DamagedFileError(f"{self.owner}.load: {path} is damaged ({error})") from error
        found = config.get("format") if isinstance(config, dict) else None
        if found != self.format:
            named = f' ("{found}")' if str(found).startswith("hud_fast") else ""
            raise FileNotFoundError(f"{must}, got a foreign {path}{named}")
        version = config.get("version")
        if type(version) is not int or version < 1:
            raise DamagedFileError(
                f"{self.owner}.load: {path} is damaged (its version is {version!r:.40})"
            )
        if version > self.version:
            raise ValueError(
                f"{self.owner}.load: `folder` must have file version {self.version} or older, got "
                f"{version}, written by hud_fast {config.get('hud_fast')}; "
                "install a newer hud_fast"
            )
        if config.pop("sha256", None) != _digest(config):
            raise DamagedFileError(
                f"{self.owner}.load: {path} is damaged (its checksum does not match its content)"
            )
        return config  # type: ignore[no-any-return]


def _digest(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
