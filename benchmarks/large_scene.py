"""Unmixing a scene that is larger than its memory: time a pixel beside that in memory, peak memory, the same on dask.

    python benchmarks/large_scene.py --gigabytes 12 --memory 2G --addresses 6

makes a float32 GeoTIFF of that size (repeated pieces of a simulated scene with noise of their own), unmixes it by
``hud-fast unmix`` in a process that may map no more than so many GB of addresses, then a part of it in memory and in
parts side by side, and, with --dask, the part on a local cluster of two workers. Results go into --json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

BANDS, COLUMNS, TILE = 224, 1024, 128
ENDMEMBERS = 9


def make(path: Path, gigabytes: float) -> tuple[int, int]:
    """A scene of about this size; rows and columns."""
    import rasterio
    from rasterio.windows import Window

    from hud_fast import simulate_scene

    rows = max(TILE, int(gigabytes * 1e9 / (4 * BANDS * COLUMNS)) // TILE * TILE)
    piece = simulate_scene(TILE, COLUMNS, C=BANDS, D=ENDMEMBERS, snr_db=300, seed=0).cube
    rng = np.random.default_rng(0)
    profile = {
        "driver": "GTiff",
        "height": rows,
        "width": COLUMNS,
        "count": BANDS,
        "dtype": "float32",
    }
    with rasterio.open(path, "w", **profile, interleave="pixel", BIGTIFF="YES") as file:
        for start in range(0, rows, TILE):
            turned = np.roll(piece, int(rng.integers(COLUMNS)), axis=1)
            noise = rng.standard_normal((TILE, COLUMNS, 1), np.float32) * np.float32(2e-3)
            values = turned * (1 + noise) + rng.random((1, 1, BANDS), np.float32) * np.float32(1e-3)
            file.write(
                np.moveaxis(values.astype(np.float32), 2, 0), window=Window(0, start, COLUMNS, TILE)
            )
    return rows, COLUMNS


def unmix(source: Path, out: Path, *options: str, addresses: float | None = None) -> dict[str, Any]:
    """Seconds and peak memory of the command in a process of its own."""

    def limit() -> None:
        if addresses is not None:
            size = int(addresses * 1e9)
            resource.setrlimit(resource.RLIMIT_AS, (size, size))

    start = "import sys; from hud_fast.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "unmix", str(source), "--endmembers", str(ENDMEMBERS)]
    command += ["--out", str(out), "--no-figures", "--overwrite", *options]
    begin = time.perf_counter()
    process = subprocess.Popen(command, preexec_fn=limit, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{said}")
    numbers = json.loads((out / "unmixing.json").read_text(encoding="utf-8"))
    return {
        "seconds": round(seconds, 2),
        "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 3),
        "pixels": numbers["pixels"],
        "microseconds_a_pixel": round(1e6 * seconds / numbers["pixels"], 3),
        "stages": [line.strip() for line in said.splitlines() if "done in" in line],
    }


def main() -> None:
    """Run, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=12.0)
    parser.add_argument("--part", type=float, default=0.75, help="GB of the part that is compared")
    parser.add_argument("--memory", default="2G")
    parser.add_argument("--addresses", type=float, default=6.0, help="GB of address space")
    parser.add_argument("--dask", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found: dict[str, Any] = {
        "gigabytes": asked.gigabytes,
        "memory": asked.memory,
        "addresses": asked.addresses,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, large = folder / "part.tif", folder / "large.tif"
        make(small, asked.part)
        found["in memory"] = unmix(small, folder / "a")
        found["in parts"] = unmix(small, folder / "b", "--memory", "900M")
        found["same bits"] = (folder / "a/abundances.npy").read_bytes() == (
            folder / "b/abundances.npy"
        ).read_bytes()
        if asked.dask:
            from distributed import LocalCluster

            with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
                found["two workers"] = unmix(
                    small, folder / "c", "--scheduler", cluster.scheduler_address
                )
            same = (folder / "a/abundances.npy").read_bytes() == (
                folder / "c/abundances.npy"
            ).read_bytes()
            found["same bits on workers"] = same
        make(large, asked.gigabytes)
        found["large"] = unmix(
            large,
            folder / "d",
            "--memory",
            asked.memory,
            "--format",
            "gtiff",
            addresses=asked.addresses,
        )
    ratio = found["large"]["microseconds_a_pixel"] / found["in memory"]["microseconds_a_pixel"]
    found["ratio"] = round(ratio, 3)
    text = json.dumps(found, indent=1)
    print(text)
    if asked.json is not None:
        asked.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
