"""Unmixing a scene that does not fit into memory, or that a cluster is to read: part by part, in the same few passes.

What is done is what `unmix_scene` does in memory, by the same functions, and found are the same endmembers and
abundances. Reading, solving and writing overlap: threads, or the workers of a dask cluster, take parts in turn, and
what they give is written in order. At no time is there more than a few parts in memory, and one bit a pixel.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hud_fast._cores import cores_for
from hud_fast._pool import Pool, pool_of
from hud_fast.pipeline.endmembers import Endmembers, library_for, numbered
from hud_fast.pipeline.errors import InputError, user_input
from hud_fast.pipeline.memory import PROGRAM, Need
from hud_fast.pipeline.options import ModelOptions, SceneOptions
from hud_fast.pipeline.progress import Progress, Reporter
from hud_fast.pipeline.truth import against_truth

if TYPE_CHECKING:
    from hud_fast.scenes import Scene, SceneFile
    from hud_fast.unmixing.pixels import Pixels

SHOWN = 512  # rows and columns, about, of the copy that is drawn
WORKERS = 2  # threads: one reads while the other computes, and each uses all cores
PART = 150 << 20  # bytes that one worker holds
KINDS = ("npy", "geotiff", "envi")  # written row by row

Put = Callable[[slice, NDArray[np.float32]], None]


@dataclass(frozen=True, eq=False)
class Unmixed:
    """A scene that was unmixed; of one read in parts every n-th row and column."""

    numbers: dict[str, Any]  # of `unmixing_summary`, and of the truth
    shown: Scene
    abundances: NDArray[np.float32]  # (H, W, D) of `shown`
    found: Endmembers


@dataclass(frozen=True)
class Writing:
    """Where abundances that come by rows go: a .npy file and, as the kind says, an image."""

    folder: Path
    file: SceneFile
    kind: str

    @contextlib.contextmanager
    def __call__(self, names: tuple[str, ...]) -> Iterator[Put]:
        """Yield what takes rows and their (n, W, D) abundances, from the first row to the last."""
        from hud_fast.scenes.row_writers import writing_envi_rows
        from hud_fast.unmixing import maps_scene

        H, W, _ = self.file.shape
        shape = H, W, len(names)
        with contextlib.ExitStack() as stack:
            puts = [stack.enter_context(writing_npy(self.folder / "abundances.npy", shape))]
            facts = maps_scene(self.file.facts, np.zeros((1, 1, len(names)), np.float32), names)
            if self.kind == "geotiff":
                from hud_fast.scenes.geotiff_write import writing_rows

                path = self.folder / "abundances.tif"
                puts.append(
                    stack.enter_context(writing_rows(path, facts, shape, names, function="unmix"))
                )
            elif self.kind == "envi":
                path = self.folder / "abundances.hdr"
                puts.append(stack.enter_context(writing_envi_rows(path, facts, shape)))

            def put(rows: slice, values: NDArray[np.float32]) -> None:
                for one in puts:
                    one(rows, values)

            yield put


def kind_by_rows(wish: str, kind: str) -> str:
    """The kind of file for maps that come by rows: the scene's own, with "auto", only where it can be so written.

    Raises
    ------
    InputError
        Another one was asked for.
    """
    if kind in KINDS:
        return kind
    if wish == "auto":
        return "npy"
    raise InputError(
        f"--format must be one of {', '.join(KINDS)} for a scene that is unmixed in parts, got {kind}"
    )


def thinner(done: Unmixed) -> Unmixed:
    """The same for drawing: no more rows and columns than a figure shows."""
    H, W, _ = done.shown.shape
    step = max(1, -(-max(H, W) // SHOWN))
    if step == 1:
        return done
    scene, every = done.shown, (slice(None, None, step), slice(None, None, step))
    shown = scene.crop(*every)
    return replace(done, shown=shown, abundances=done.abundances[every])


def of_parts(shape: tuple[int, int, int]) -> Need:
    """The memory that parts take, a bit or two a pixel, and the coordinates that the search keeps."""
    from hud_fast.unmixing.views import KEPT_BYTES

    H, W, C = shape
    kept = min(KEPT_BYTES, 8 * H * W * C)
    return Need(
        PROGRAM + WORKERS * PART + 2 * H * W + kept, "give more --memory, or a part by --window"
    )


def unmix_parts(
    file: SceneFile,
    source: str,
    scene_options: SceneOptions,
    options: ModelOptions,
    method: str,
    truth: str | None,
    write: Writing,
    scheduler: str | None,
    reporter: Reporter,
) -> Unmixed:
    """Find endmembers, or take the user's, and give the abundances to what `write` opens, some rows at a time.

    Raises
    ------
    InputError
        A choice that needs the scene in memory; no answer from the scheduler; what the library lacks.
    """
    from hud_fast.scenes import SceneBlocks
    from hud_fast.unmixing.pixels import Pixels

    of_parts(file.shape).check("unmix", reporter)
    if options.fine_tune:
        raise InputError(
            "--fine-tune needs the scene in memory: give a part of it by --window or --every"
        )
    with contextlib.ExitStack() as stack:
        with user_input("--scheduler"):
            pool = stack.enter_context(pool_of(cores_for(WORKERS), scheduler))
        with reporter.stage("Looking through the scene"):
            blocks = SceneBlocks(
                file,
                scale=file.scale_of(scene_options.scale),
                reopen=partial(reopened, source, scene_options),
            )
            shown, step = thinned(blocks, pool)
        reader = Pixels("unmix", blocks, blocks.valid, pool=pool)
        with reporter.stage("Finding the endmembers"):
            found = endmembers_of(reader, shown, options)
        with reporter.stage("Solving and writing the abundances") as progress:
            # a truth gives names before the maps get them, and its numbers after
            none = np.empty((0, 0, len(found.spectra)))
            names = found.renamed(against_truth(shown, found.spectra, none, truth)[1])
            found = replace(found, names=names)
            numbers, maps = _solved(reader, found, method, shown, step, write, progress)
    known, _ = against_truth(shown, found.spectra, maps, truth)
    if known is not None:
        numbers["truth"] = known
    return Unmixed(numbers, shown, maps, found)


def reopened(source: str, options: SceneOptions) -> SceneFile:
    """The scene's file, opened by another process."""
    return options.open(source)


def endmembers_of(reader: Pixels, shown: Scene, options: ModelOptions) -> Endmembers:
    """As `pipeline.endmembers.choose`, of pixels that are read in parts."""
    from hud_fast.diffusion.preparation import FEWEST, LARGEST_D, MOST, VCA_RUNS, known_count
    from hud_fast.unmixing.hysime import count_from
    from hud_fast.unmixing.moments import moments
    from hud_fast.unmixing.vca import find_vertices

    if options.library is not None:
        with user_input("--endmembers"):
            library = library_for(shown, options.library)
        return Endmembers(library.spectra.astype(np.float32), library.names, library.D)
    kept: NDArray[np.float64] = np.empty((0, reader.C))
    names: tuple[str, ...] = ()
    if options.keep is not None:
        with user_input("--keep"):
            library = library_for(shown, options.keep)
        kept, names = library.spectra, library.names
    with user_input():
        stats = moments(reader.whole())
        spoilt = reader.spoilt
        if spoilt:
            warnings.warn(
                f"{spoilt:,} pixels are saturated or have dropped bands: kept out of the endmember search",
                UserWarning,
                stacklevel=2,
            )
        count = options.endmembers or known_count(shown)
        if count is None:
            count = min(max(count_from(stats), FEWEST), MOST)
        most = min(LARGEST_D, reader.C, stats.count)
        if options.endmembers is None:
            count = min(count, most)
        if not len(kept) < count <= most:
            raise InputError(
                f"--endmembers must be from {len(kept) + 1} to {most} (the least of {reader.C} bands, {stats.count:,} "
                f"valid pixels and {LARGEST_D}), got {count}"
            )
        places = find_vertices(
            reader,
            stats,
            count,
            seed=options.seed,
            best_of=VCA_RUNS,
            criterion="residual",
            kept=kept,
        )
    spectra = np.concatenate([kept, reader.take(places)]).astype(np.float32)
    return Endmembers(spectra, (*names, *numbered(count)[len(kept) :]), len(kept))


def thinned(blocks: Any, pool: Pool) -> tuple[Scene, int]:
    """Every n-th row and column as a scene, and n."""
    H, W, C = blocks.shape
    step = max(1, -(-max(H, W) // SHOWN))
    cube = np.empty((-(-H // step), -(-W // step), C), np.float32)
    parts = blocks.parts(1 << 22)
    for (rows, columns), some in zip(
        parts, pool.in_order(_some, ((blocks, part, step) for part in parts)), strict=True
    ):
        first, across = -(-rows.start // step), -(-columns.start // step)
        cube[first : first + some.shape[0], across : across + some.shape[1]] = some
    mask = None if blocks.valid is None else blocks.valid[::step, ::step]
    facts = blocks.facts.drop_bad_bands()
    return facts.replace(cube=cube, mask=mask, geo=None, lookup=None), step


def _some(blocks: Any, part: tuple[slice, slice], step: int) -> NDArray[np.float32]:
    rows, columns = part
    down, across = -rows.start % step, -columns.start % step
    if blocks.by_rows:  # the others need not be read
        lines = [
            blocks[slice(r, r + 1), columns][:, across::step]
            for r in range(rows.start + down, rows.stop, step)
        ]
        return np.concatenate(lines) if lines else np.empty((0, 0, blocks.shape[2]), np.float32)
    taken: NDArray[np.float32] = blocks[part][down::step, across::step]
    return taken


def _solved(
    reader: Pixels,
    found: Endmembers,
    method: str,
    shown: Scene,
    step: int,
    write: Writing,
    progress: Progress,
) -> tuple[dict[str, Any], NDArray[np.float32]]:
    from hud_fast.unmixing.methods import solve_part
    from hud_fast.unmixing.summary import Sums

    H, W = reader.shape
    D = len(found.spectra)
    maps = np.full((*shown.cube.shape[:2], D), np.nan, np.float32)
    sums, band = Sums(), np.empty((0, W, D), np.float32)
    with write(found.names) as put:
        parts = iter(reader.parts())
        results = reader.each(
            solve_part, lambda part: (reader.kept_in(part), found.spectra, method)
        )
        for (rows, columns), (x, own) in zip(parts, results, strict=True):
            sums.add(own)
            down, across = -rows.start % step, -columns.start % step
            some = x[down::step, across::step]
            first, left = -(-rows.start // step), -(-columns.start // step)
            maps[first : first + some.shape[0], left : left + some.shape[1]] = some
            if columns.indices(W)[:2] == (0, W):
                put(rows, x)
            else:  # parts of the same rows come one after the other
                if columns.start == 0:
                    band = np.empty((rows.stop - rows.start, W, D), np.float32)
                band[:, columns] = x
                if columns.stop == W:
                    put(rows, band)
            progress(rows.stop, H)
    with user_input():
        return sums.summary("unmix", reader.P), maps


@contextlib.contextmanager
def writing_npy(path: Path, shape: tuple[int, int, int]) -> Iterator[Put]:
    """A .npy file of float32 whose rows come in turn."""
    from hud_fast.pipeline.cubes import writing_array

    with writing_array(path, shape) as append:
        yield lambda _, values: append(values)
