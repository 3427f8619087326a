"""Slow, independent float64 truths that the tests compare with. Plain NumPy, no code of the package."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
