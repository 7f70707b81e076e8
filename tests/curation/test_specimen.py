from pipeline.curation.specimen import SpecimenCheck
from tests.curation.scored import PARAMS, all_of, row, scores


def test_what_its_source_calls_a_specimen_is_dropped():
    frame = scores(row("bones", shows="specimen"), row("alive"))
    drops = SpecimenCheck().check(frame, all_of(frame), PARAMS).drops
    assert {number: why.code for number, why in drops.items()} == {0: "specimen"}
