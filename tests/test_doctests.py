"""Every example in every public docstring runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import hud_fast


def modules() -> list[str]:
    return [
        module.name
        for module in pkgutil.walk_packages(hud_fast.__path__, "hud_fast.")
        if not module.name.endswith(("._C", ".__main__"))
    ]


@pytest.mark.parametrize("name", ["hud_fast", *modules()])
def test_examples(name, tmp_path, monkeypatch):
    if name in ("hud_fast.xarray", "hud_fast.unmixing.named", "hud_fast.scenes.xarray_scene"):
        pytest.importorskip("xarray")
    if "triton" in name:
        pytest.importorskip("triton")
    monkeypatch.chdir(tmp_path)  # examples may write files
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0


def test_every_public_function_has_an_example():
    for name in hud_fast.__all__:
        value = getattr(hud_fast, name)
        if callable(value) and name != "Scene":
            assert ">>>" in (value.__doc__ or ""), name
