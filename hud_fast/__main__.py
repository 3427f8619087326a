"""``python -m hud_fast`` is ``hud-fast``."""

from __future__ import annotations

import sys

from hud_fast.cli import main

if __name__ == "__main__":
    sys.exit(main())
