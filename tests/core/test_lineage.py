from __future__ import annotations

from pipeline.core import lineage
from pipeline.core import params as params_module
from tests.core.test_params import TEXT


def test_the_digest_of_params_changes_with_a_value_and_not_with_a_comment():
    params = params_module.parse(TEXT, "p")
    commented = params_module.parse(TEXT + "\n# a comment\n", "p")
    changed = params_module.parse(TEXT.replace("batch_size: 8", "batch_size: 9"), "p")
    assert lineage.digest_json(params.train) == lineage.digest_json(commented.train)
    assert lineage.digest_json(params.train) != lineage.digest_json(changed.train)


def test_a_tree_is_its_names_and_contents(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.py").write_text("1")
    before = lineage.digest_tree(tmp_path)
    (tmp_path / "a" / "x.py").rename(tmp_path / "a" / "y.py")
    assert lineage.digest_tree(tmp_path) != before


def test_every_part_of_a_lineage_matters():
    parts = {"dataset": "d", "base": "b", "params": {"a": 1}, "code": "c"}
    ids = {lineage.lineage_id(**parts), *(lineage.lineage_id(**{**parts, key: "other"}) for key in parts)}
    assert len(ids) == 5
