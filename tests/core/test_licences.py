import pytest

from pipeline.core.licences import accepted, unported

POLICY = ("CC0-1.0", "CC-BY-SA-3.0", "CC-BY-3.0", "My-Museum-DE")


@pytest.mark.parametrize("licence", ["CC0-1.0", "cc-by-sa-3.0", "CC-BY-SA-3.0-DE", "CC-BY-3.0-IGO", "My-Museum-DE"])
def test_a_licence_on_the_list_and_its_ports_are_accepted(licence):
    assert accepted(licence, POLICY)


@pytest.mark.parametrize("licence", ["", "CC-BY-SA-4.0", "CC-BY-NC-3.0", "CC-BY-ND-3.0-DE", "My-Museum", "CC-BY"])
def test_every_other_is_not(licence):
    assert not accepted(licence, POLICY)


def test_a_port_names_the_licence_that_it_carries_over():
    assert unported("CC-BY-SA-3.0-DE") == "CC-BY-SA-3.0" and unported("CC-BY-SA") == "CC-BY-SA"
