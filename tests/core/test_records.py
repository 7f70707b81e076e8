"""The typed row of the manifest and its columns."""

from __future__ import annotations

import pytest

from pipeline.core.records import MANIFEST_COLUMNS, Candidate, CollectedImage, Rejection, StoredFile

CANDIDATE = Candidate("shop", "1", "https://a.example/1.jpg", licence="CC0-1.0", evidence="e" * 64)
FILE = StoredFile("f" * 64, 12, "https://b.example/1.jpg", "image/jpeg")
REFUSED = Rejection("collect", "gone", "It is gone.")


@pytest.mark.parametrize(
    "image",
    [
        CollectedImage(CANDIDATE),
        CollectedImage(CANDIDATE, FILE, "images/f.jpg"),
        CollectedImage(CANDIDATE, None, "", REFUSED),
        CollectedImage(CANDIDATE, FILE, "", REFUSED),
    ],
)
def test_a_row_of_the_manifest_is_read_as_it_was_written(image):
    row = image.row()
    assert list(row) == list(MANIFEST_COLUMNS) and CollectedImage.from_row(row) == image
    assert row["kept"] == (image.rejection is None)
    assert image.awaits_download == (image == CollectedImage(CANDIDATE))


def test_a_rejected_image_has_no_path():
    image = CollectedImage(CANDIDATE, FILE, "images/f.jpg")
    assert image.rejected(REFUSED).path == "" and image.rejected(None) is image
