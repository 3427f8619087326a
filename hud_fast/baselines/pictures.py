"""A folder of RGB pictures as training windows."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from hud_fast.diffusion.crops import CropSampler

KINDS = (".png", ".jpg", ".jpeg")
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")  # of Pillow, 8 bits and less


def read_pictures(
    caller: str, argument: str, folder: str | os.PathLike[str], crop: int
) -> CropSampler:
    """Windows of all PNG and JPEG pictures that lie in a folder, (3, crop, crop) of values 0 to 255.

    Each picture is equally likely. They are held in memory, 3 bytes a pixel and 16 of the list of windows.

    Raises
    ------
    ValueError
        No folder, or none of these pictures in it; a picture that cannot be read, has more than 8 bits a channel, or is
        smaller than the window.
    """
    from PIL import Image

    path = Path(folder)
    must = f"{caller}: `{argument}` must"
    if not path.is_dir():
        raise ValueError(f"{must} be a folder of pictures, got {path}")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in KINDS)
    if not files:
        raise ValueError(f"{must} hold pictures ({', '.join(KINDS)}), got none in {path}")
    pictures = []
    for file in files:
        try:
            with Image.open(file) as opened:
                mode, size = opened.mode, opened.size
                pixels = np.array(opened.convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(
                f"{must} hold pictures that can be read, got {file.name}: {error}"
            ) from error
        if mode not in MODES:
            raise ValueError(f"{must} hold pictures of 8 bits, got {file.name} of mode {mode}")
        if min(size) < crop:
            raise ValueError(
                f"{must} hold pictures of at least {crop} x {crop} pixels, got {file.name} of {size[0]} x {size[1]}"
            )
        pictures.append(torch.from_numpy(pixels).movedim(-1, 0))
    free = [np.ones(tuple(picture.shape[1:]), bool) for picture in pictures]
    return CropSampler(pictures, free, crop=crop)
