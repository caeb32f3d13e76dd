"""Photographs that the package scikit-image carries as files, as inputs of image networks. The package itself is not imported."""

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

# All in colour; astronaut 512x512, coffee 400x600, motorcycle 500x741, rocket 427x640, chelsea 300x451 (height x width).
CALIBRATION = ("astronaut.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
TEST = ("chelsea.png", "motorcycle_right.png")  # seen by no calibration
# What torchvision's classification networks expect.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load(file):
    """The RGB photograph as uint8 [height, width, 3]."""
    package = importlib.util.find_spec("skimage")
    if package is None:
        raise SystemExit("photos: the package scikit-image is missing; scripts/venv --models installs it")
    with Image.open(Path(package.origin).parent / "data" / file) as image:
        return np.asarray(image.convert("RGB"))


def crop(image, height, width, share, across, down):
    """A part of the photograph with the aspect ratio of height:width, scaled to that size.

    share: size of the part against the largest one that fits; across, down: where it lies, 0 (left, top) to 1.
    """
    scale = share * min(image.shape[0] / height, image.shape[1] / width)
    part_height, part_width = round(scale * height), round(scale * width)
    top, left = round(down * (image.shape[0] - part_height)), round(across * (image.shape[1] - part_width))
    part = Image.fromarray(image[top:top + part_height, left:left + part_width])
    return np.asarray(part.resize((width, height), Image.Resampling.BILINEAR))


def to_input(image, normalization):
    """Float32 [1, 3, height, width]: "imagenet" as torchvision's networks take it, "unit" from 0 to 1 as YOLO does."""
    value = image.astype(np.float32) / np.float32(255)
    if normalization == "imagenet":
        value = (value - np.asarray(IMAGENET_MEAN, np.float32)) / np.asarray(IMAGENET_STD, np.float32)
    elif normalization != "unit":
        raise ValueError(f"photos: no normalization '{normalization}'")
    return np.ascontiguousarray(value.transpose(2, 0, 1)[np.newaxis])


def calibration_inputs(height, width, normalization):
    """Two crops of each calibration photograph: most of it, and a detail."""
    inputs = []
    for i, file in enumerate(CALIBRATION):
        photo = load(file)
        inputs.append(to_input(crop(photo, height, width, 1.0, 0.5, 0.5), normalization))
        inputs.append(to_input(crop(photo, height, width, 0.55, 0.25 * i, 1 - 0.25 * i), normalization))
    return inputs


def test_inputs(height, width, normalization):
    """One central crop of each photograph that took no part in the calibration."""
    return [to_input(crop(load(file), height, width, 0.9, 0.5, 0.5), normalization) for file in TEST]
