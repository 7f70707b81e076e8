"""See the package."""


def crop(image, top, left, height, width):
    return image.crop((left, top, left + width, top + height))
