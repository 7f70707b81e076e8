import re

import pytest

from pipeline import curate as stage
from pipeline.core.import_closure import import_closure
from pipeline.curation import CHECKS
from pipeline.curation.all_checks import all_checks
from pipeline.curation.check import CheckParams
from pipeline.curation.size import SizeCheck, SizeParams
from tests.curation.scored import PARAMS, curate
from tests.project import ROOT


def _source(name: str) -> str:
    return (ROOT / (CHECKS[name].partition(":")[0].replace(".", "/") + ".py")).read_text()


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_gives_its_own_codes_and_names_itself_in_them(name):
    given = re.findall(r'Rejection\(\s*"(\w+)", "(\w+)"', _source(name))
    assert {check for check, _ in given} <= {name}
    assert {code for _, code in given} == {code.code for code in all_checks()[name].codes}


@pytest.mark.parametrize("name", CHECKS)
def test_a_remedy_names_params_that_exist(name):
    check = all_checks()[name]
    named = re.findall(rf"`curate\.{name}\.(\w+)`", " ".join(code.remedy for code in check.codes))
    assert set(named) <= set(check.Params.model_fields)
    threshold = check.threshold(PARAMS)
    assert threshold is None or threshold.param.rpartition(".")[2] in check.Params.model_fields


def test_a_check_reads_its_own_section_and_defaults_where_it_is_not_written():
    assert SizeParams.of(curate(size={"min_side_px": 7})).min_side_px == 7
    assert SizeParams.of(PARAMS.model_copy(update={"size": None})) == SizeParams()
    assert issubclass(SizeCheck.Params, CheckParams)


def test_an_edit_of_a_check_decodes_no_picture_again_and_one_of_a_measure_does():
    measured_by = set(import_closure(ROOT, stage.MEASURING))
    checks = {entry.partition(":")[0].replace(".", "/") + ".py" for entry in CHECKS.values()}
    assert not measured_by & {*checks, "pipeline/curation/__init__.py", "pipeline/curation/check.py"}
    rooms = {
        "curation": ("measuring", "hashes", "borders", "sharpness"),
        "io/images": ("codecs", "truncation", "image_cache"),
    }
    assert measured_by >= {f"pipeline/{room}/{name}.py" for room, names in rooms.items() for name in names}
