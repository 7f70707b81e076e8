"""What a page shows of one sample comes from the columns that the specs declare."""

from __future__ import annotations

from pipeline.core.metric_spec import ImageColumn, MetricSpec
from pipeline.pages.gallery.image_scores import ImageScores, image_scores

SPECS = {
    "eyes": MetricSpec(
        "eyes",
        "eyes",
        "Number of eyes",
        "eyes",
        columns=(
            ImageColumn("eyes_hit", "hit", "two of them", "not two", ranks=True),
            ImageColumn("eyes_of", "label", "eyes of"),
            ImageColumn("eyes_cut", "flag", "looks cut", "an eye is at the border", in_table=True),
        ),
    ),
    "fur": MetricSpec(
        "fur",
        "fur",
        "Fur density",
        "fur",
        unit="/cm²",
        columns=(
            ImageColumn("fur", in_table=True, ranks=True),
            ImageColumn("like", "training_picture", cosine="like_cosine"),
        ),
    ),
}
CREDITS = {"train/1.png": {"title": "Plate 1"}}
ROW = {"eyes_hit": True, "eyes_of": "moa", "eyes_cut": True, "fur": 0.5, "like": "train/1.png", "like_cosine": 0.25}


def test_each_kind_of_column_is_shown_in_its_place():
    found = image_scores(ROW, SPECS, CREDITS)
    assert found.in_table == "fur 0.500\u00a0/cm², looks cut"
    assert found.facts == (
        ("Fur density", "0.500\u00a0/cm²"),
        ("eyes of", "moa"),
        ("looks cut", "an eye is at the border"),
    )
    assert (found.hit, found.hit_title, found.rank) == (True, "two of them", 1.5)
    assert found.nearest == {"title": "Plate 1", "cosine": "0.250\u00a0/cm²"}


def test_what_was_not_measured_is_left_out():
    missed = image_scores(
        {**ROW, "eyes_hit": False, "eyes_cut": False, "eyes_of": "", "like": "gone.png"}, SPECS, CREDITS
    )
    assert (missed.hit, missed.hit_title, missed.rank) == (False, "not two", 0.5)
    assert [name for name, _ in missed.facts] == ["Fur density"]
    assert missed.nearest is None
    assert image_scores({**ROW, "eyes_hit": None}, SPECS, CREDITS).hit is None
    assert image_scores({}, SPECS, CREDITS) == ImageScores()
