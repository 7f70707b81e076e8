"""Pictures (PIL) to tensors; the work is Pillow's and torch's, as it is in torchvision."""

from __future__ import annotations

import enum
import random

import numpy as np
import torch
from PIL import Image, ImageOps

from torchvision.transforms.functional import crop


class InterpolationMode(enum.Enum):
    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, image):
        for transform in self.transforms:
            image = transform(image)
        return image


class Resize:
    """The shorter side becomes `size` px."""

    def __init__(self, size, interpolation=InterpolationMode.BILINEAR):
        self.size, self.filter = size, Image.Resampling[interpolation.name]

    def __call__(self, image):
        scale = self.size / min(image.size)
        if scale == 1:
            return image
        return image.resize(tuple(round(side * scale) for side in image.size), self.filter)


class CenterCrop:
    def __init__(self, size):
        self.size = size

    def __call__(self, image):
        left, top = (image.width - self.size) // 2, (image.height - self.size) // 2
        return crop(image, top, left, self.size, self.size)


class RandomCrop:
    def __init__(self, size):
        self.size = size

    @staticmethod
    def get_params(image, size):
        height, width = size
        return random.randint(0, image.height - height), random.randint(0, image.width - width), height, width

    def __call__(self, image):
        return crop(image, *self.get_params(image, (self.size, self.size)))


class RandomHorizontalFlip:
    def __init__(self, p=0.5):
        self.p = p

    def __call__(self, image):
        return ImageOps.mirror(image) if random.random() < self.p else image


class ToTensor:
    """(3, h, w) in 0..1."""

    def __call__(self, image):
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)


class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)

    def __call__(self, tensor):
        return (tensor - self.mean) / self.std
