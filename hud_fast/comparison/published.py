"""What the paper's authors published: values in their repository, and those of the printed tables that are known.

FILES are facts of public files: F_p and D_b of ``experiments/metric/METHOD/SCENE/metric.txt`` in
github.com/Teemo341/latent-diffusion at 9e157df (2025-08-10); IS and FID of the same files, for UD and UBF there, for
the others at 0e9a36f (2024-12-19). PRINTED are cells of the paper's Tables I to III (arXiv 2506.02601) as far as they
are known here: Tables II and III agree with the files to all printed digits but where a cell stands below; Table I's
text was not at hand, so only the cells that have been quoted stand here. Nothing is ever tuned to either.
"""

from __future__ import annotations

SCENES = ("indian-pines", "ksc", "pavia-centre", "pavia-university", "salinas")
METHODS = ("vae", "wgan-gp", "mprnet", "ud", "ubf", "hud")

Cells = dict[str, tuple[float | None, ...]]  # method -> a value a scene, in the order of SCENES

FILES: dict[str, Cells] = {
    "point_fidelity": {
        "vae": (0.91409, 0.99944, 0.99914, 0.99932, 0.99867),
        "wgan-gp": (0.99856, 0.99878, 0.99608, 0.99693, 0.99530),
        "mprnet": (0.99612, 0.99920, 0.99926, 0.99742, 0.99830),
        "ud": (0.54695, 0.97252, 0.98747, 0.99634, 0.45833),
        "ubf": (0.19758, 0.93077, 0.93644, 0.96553, 0.16865),
        "hud": (0.99920, 0.99988, 0.99915, 0.99883, 0.99971),
    },
    "block_diversity": {
        "vae": (0.80968, 0.97883, 0.93608, 0.91388, 0.97142),
        "wgan-gp": (0.98503, 0.93609, 0.84910, 0.94889, 0.96360),
        "mprnet": (0.98570, 0.98356, 0.94284, 0.88410, 0.98760),
        "ud": (0.04546, -0.08341, 0.44079, 0.54115, 0.13483),
        "ubf": (-0.31841, -0.19326, 0.44415, 0.50718, -0.16582),
        "hud": (0.98634, 0.99088, 0.91217, 0.91991, 0.99144),
    },
    "inception": {
        "vae": (1.02364, 1.00087, 1.01133, 1.03418, 1.03475),
        "wgan-gp": (1.08227, 1.00089, 1.01204, 1.02478, 1.05120),
        "mprnet": (1.04000, 1.00216, 1.04357, 1.03608, 1.00370),
        "ud": (1.00000, 1.00002, 1.00002, 1.00000, 1.00001),
        "ubf": (1.00002, 1.00000, 1.00015, 1.00080, 1.01053),
        "hud": (1.07204, 1.00051, None, 1.04475, 1.04864),
    },
    "fid": {
        "vae": (240.906, 5.445, 13.824, 9.134, 21.333),
        "wgan-gp": (4.707, 10.874, 4.809, 4.915, 15.026),
        "mprnet": (20.976, 4.764, 2.367, 3.129, 29.089),
        "ud": (124.415, 51.989, 23.370, 14.457, 76.626),
        "ubf": (171.619, 53.677, 19.007, 11.315, 91.643),
        "hud": (8.314, 6.453, None, 3.569, 20.079),
    },
}


def _rounded(cells: Cells, digits: int) -> Cells:
    return {
        name: tuple(None if v is None else round(v, digits) for v in row)
        for name, row in cells.items()
        if name != "hud"
    }


PRINTED: dict[str, Cells] = {
    "point_fidelity": {
        "vae": (None, 0.978, None, None, None),
        "mprnet": (None, 0.983, None, None, None),
        "hud": (0.999, None, None, None, None),
    },
    "block_diversity": {
        "vae": (0.914, None, None, None, None),
        "wgan-gp": (None, None, 0.949, None, None),
        "mprnet": (None, None, None, 0.984, None),
        "hud": (0.978, None, None, None, None),
    },
    "inception": _rounded(FILES["inception"], 2),
    "fid": {
        **_rounded(FILES["fid"], 2),
        "wgan-gp": (8.03, 10.87, 4.81, 4.92, 15.03),
        "hud": (4.71, 6.69, None, 2.81, 23.12),
    },
}
# Which scene of the paper a crop of the catalogue is a part of.
PART_OF = {
    "salinas-crop": "salinas",
    "salinas-a": "salinas",
    "pavia-crop": "pavia-centre",
    "pavia-university-crop": "pavia-university",
}


def published(table: dict[str, Cells], measure: str, method: str, scene: str) -> float | None:
    """A published value for a scene, or for the whole scene that it is a part of.

    Examples
    --------
    >>> published(FILES, "fid", "vae", "salinas-crop"), published(PRINTED, "fid", "hud", "samson")
    (21.333, None)
    """
    name = PART_OF.get(scene, scene)
    cells = table.get(measure, {}).get(method)
    return None if cells is None or name not in SCENES else cells[SCENES.index(name)]
