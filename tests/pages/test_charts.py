from __future__ import annotations

from pipeline.core.metric_spec import MetricSpec, unregistered
from pipeline.pages.gallery.charts import HEIGHT, WIDTH, interval_chart, loss_chart, shown

LIKENESS, SHARE = (MetricSpec(name, name, name, name, share=name == "hits") for name in ("clip_i", "hits"))
STEPS = {
    "500": {"clip_i": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 24}},
    "0": {"clip_i": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 24}},
    "50": {"clip_i": {"value": None, "low": None, "high": None, "n": 0}},
}


def test_checkpoints_stand_in_their_order_inside_the_chart():
    chart = interval_chart(LIKENESS, STEPS, chosen=500, real=0.95)
    assert [mark["label"] for mark in chart["marks"]] == ["base", "step 500"]
    assert [mark["chosen"] for mark in chart["marks"]] == [False, True]
    for mark in chart["marks"]:
        assert 0 < mark["x"] < WIDTH
        assert 0 < mark["high"] < mark["y"] < mark["low"] < HEIGHT
    assert 0 < chart["real"]["y"] < chart["marks"][1]["high"]
    assert chart["summary"] == "base: 0.500 (0.400 to 0.600); step 500: 0.800 (0.700 to 0.900)"


def test_a_metric_that_nobody_measured_has_no_chart():
    assert interval_chart(unregistered("clip_t"), STEPS, chosen=500) is None
    assert interval_chart(LIKENESS, {"50": STEPS["50"]}, chosen=50) is None


def test_a_single_value_without_interval_is_drawn():
    chart = interval_chart(
        unregistered("diversity"), {"0": {"diversity": {"value": 0.3, "low": None, "high": None}}}, chosen=0
    )
    assert chart["marks"][0]["low"] is None
    assert chart["real"] is None


def test_values_are_written_as_people_read_them():
    assert shown(SHARE, 0.925) == "92\u00a0%"
    assert shown(LIKENESS, 0.5) == "0.500"
    assert shown(LIKENESS, None) == shown(LIKENESS, float("nan")) == "–"
    assert unregistered("some_new_one").heading == "Some new one"


def test_a_loss_curve_is_thinned_smoothed_and_has_its_snapshots():
    rows = [{"step": step, "loss": 1 / step} for step in range(1, 2001)]
    chart = loss_chart(rows, [50, 2000])
    assert chart["raw"].count("L") < 400
    assert chart["first"] > chart["last"] > 0
    assert [snapshot["step"] for snapshot in chart["snapshots"]] == [50, 2000]
    assert chart["steps"] == 2000


def test_a_curve_needs_two_finite_losses():
    assert loss_chart([{"step": 1, "loss": 0.5}, {"step": 2, "loss": float("nan")}], []) is None
    assert loss_chart([{"step": 1, "loss": 0.0}, {"step": 2, "loss": 0.0}], []) is not None
