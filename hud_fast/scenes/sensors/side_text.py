"""Texts beside a product's picture, XML and JSON: of a size that metadata have, and nothing fetched or expanded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

LARGEST = 64 << 20  # bytes; those with a polynomial for each band have some MB


class _NoEntities(ElementTree.TreeBuilder):
    """A document type is where entities are declared, to read other files or to grow without end."""

    def doctype(self, *_: Any) -> None:
        raise ValueError("it declares a document type, which metadata do not need")


def xml_of(path: Path) -> ElementTree.Element:
    """The root of an XML file."""
    return ElementTree.fromstring(
        _content(path), parser=ElementTree.XMLParser(target=_NoEntities())
    )


def json_of(path: Path) -> Any:
    """What a JSON file holds."""
    return json.loads(_content(path))


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"metadata must have up to {LARGEST} bytes, got more in {path}")
    return content


def beside(path: Path, name: str) -> Path | None:
    """The file of this name in the same folder, in whatever letters."""
    exact = path.with_name(name)
    if exact.is_file():
        return exact
    wanted = name.lower()
    return next((one for one in path.parent.iterdir() if one.name.lower() == wanted), None)
