"""``import hud_fast.xarray`` gives every xarray DataArray an accessor, ``.hud``: see `hud_fast.unmixing.named`."""

from __future__ import annotations

from hud_fast.unmixing.named import Accessor, register

__all__ = ["Accessor"]

register()
