"""Band centres of the catalogue's scenes, in nm: measured where the provider published them, else nominal.

Indian Pines: Purdue's table of the 1992 flight ("92AV3C", 220 channels). The common 200-band cube lacks
channels 104-108, 150-163 and 220 (counted from 1), as its provider says. The copy in the tensorly package
lists other centres from band 104 on: one channel later (104-109 and 151-164 left out) and two misprints. The
scene itself decides: its absorption lines of carbon dioxide, at 2009 and 2061 nm, lie at 2008 and 2058 nm
by the list here, at 2018 and 2068 nm by the other.

The other scenes are quoted with a first and a last wavelength only: equal steps between them are nominal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

INDIAN_PINES_REMOVED = (*range(104, 109), *range(150, 164), 220)  # counted from 1
SALINAS_REMOVED = (*range(108, 113), *range(154, 168), 224)
# fmt: off
INDIAN_PINES_220 = (
    400.02, 409.82, 419.62, 429.43, 439.25, 449.07, 458.9, 468.73, 478.57, 488.41, 498.26,
    508.12, 517.98, 527.85, 537.72, 547.6, 557.49, 567.38, 577.28, 587.18, 597.09, 607.01,
    616.93, 626.85, 636.78, 646.72, 656.67, 666.61, 676.57, 686.53, 696.5, 686.91, 696.55,
    706.19, 715.83, 725.47, 735.11, 744.74, 754.38, 764.01, 773.64, 783.27, 792.91, 802.53,
    812.16, 821.79, 831.41, 841.04, 850.66, 860.28, 869.91, 879.53, 889.14, 898.76, 908.38,
    917.99, 927.61, 937.22, 946.83, 956.45, 966.06, 975.66, 985.27, 994.88, 1004.48, 1014.09,
    1023.69, 1033.29, 1042.89, 1052.49, 1062.09, 1071.69, 1081.29, 1090.88, 1100.48, 1110.07, 1119.66,
    1129.25, 1138.84, 1148.43, 1158.02, 1167.61, 1177.19, 1186.77, 1196.36, 1205.94, 1215.52, 1225.1,
    1234.68, 1244.26, 1253.83, 1263.41, 1272.98, 1282.55, 1273, 1282.96, 1292.93, 1302.89, 1312.85,
    1322.81, 1332.77, 1342.73, 1352.68, 1362.64, 1372.59, 1382.54, 1392.49, 1402.44, 1412.39, 1422.34,
    1432.28, 1442.23, 1452.17, 1462.11, 1472.05, 1481.99, 1491.92, 1501.86, 1511.79, 1521.73, 1531.66,
    1541.59, 1551.52, 1561.44, 1571.37, 1581.3, 1591.22, 1601.14, 1611.06, 1620.98, 1630.9, 1640.81,
    1650.73, 1660.64, 1670.56, 1680.47, 1690.38, 1700.28, 1710.19, 1720.1, 1730, 1739.9, 1749.81,
    1759.71, 1769.6, 1779.5, 1789.4, 1799.29, 1809.19, 1819.08, 1828.97, 1838.86, 1848.75, 1858.63,
    1868.52, 1878.4, 1888.28, 1883.24, 1893.25, 1903.26, 1913.26, 1923.27, 1933.27, 1943.27, 1953.26,
    1963.25, 1973.24, 1983.23, 1993.22, 2003.2, 2013.18, 2023.16, 2033.13, 2043.1, 2053.07, 2063.04,
    2073, 2082.97, 2092.92, 2102.88, 2112.83, 2122.78, 2132.73, 2142.68, 2152.62, 2162.56, 2172.5,
    2182.43, 2192.37, 2202.3, 2212.22, 2222.15, 2232.07, 2241.99, 2251.9, 2261.82, 2271.73, 2281.64,
    2291.54, 2301.45, 2311.35, 2321.25, 2331.14, 2341.03, 2350.92, 2360.81, 2370.7, 2380.58, 2390.46,
    2400.33, 2410.21, 2420.08, 2429.95, 2439.81, 2449.68, 2459.54, 2469.4, 2479.25, 2489.11, 2498.96,
)
# fmt: on


def without(
    centres: NDArray[np.float64],  # (channels,) nm
    removed: tuple[int, ...],  # counted from 1
) -> NDArray[np.float64]:  # (C,) nm
    """The centres of the channels that were kept."""
    return np.delete(centres, np.array(removed) - 1)


def indian_pines() -> NDArray[np.float64]:  # (200,) nm
    """The 200-band "corrected" cube."""
    return without(np.array(INDIAN_PINES_220, dtype=np.float64), INDIAN_PINES_REMOVED)


def salinas() -> NDArray[np.float64]:  # (204,) nm
    """Nominal: the 224 channels of AVIRIS from 380 to 2500 nm, less the 20 of water vapour."""
    return without(aviris_nominal(), SALINAS_REMOVED)


def aviris_nominal() -> NDArray[np.float64]:  # (224,) nm
    """The 224 channels of AVIRIS as benchmarks quote them."""
    return np.linspace(380.0, 2500.0, 224)


def jasper_ridge() -> NDArray[np.float64]:  # (198,) nm
    """Nominal: AVIRIS channels 4-107, 113-153 and 167-219 (counted from 1), as the file's SlectBands says."""
    kept = [*range(4, 108), *range(113, 154), *range(167, 220)]
    return np.take(aviris_nominal(), np.array(kept) - 1)


def rosis(bands: int) -> NDArray[np.float64]:  # (bands,) nm
    """Nominal: ROSIS-03 from 430 to 860 nm, after the noisy bands were left out."""
    return np.linspace(430.0, 860.0, bands)


def samson() -> NDArray[np.float64]:  # (156,) nm
    """Nominal: 401 to 889 nm."""
    return np.linspace(401.0, 889.0, 156)
