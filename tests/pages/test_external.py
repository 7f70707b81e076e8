from __future__ import annotations

import pytest

from pipeline.pages.gallery.external import match, slug

PROMPTS = ["Sinomacrops bondei", "Sinomacrops bondei flying in the forest", "pencil drawn Sinomacrops bondei"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["01.png", "02.png", "03.png"], {0: ["01.png"], 1: ["02.png"], 2: ["03.png"]}),
        (["0.png", "2 the last.png"], {0: ["0.png"], 2: ["2 the last.png"]}),
        (["p01-a.png", "p01-b.png", "p9.png"], {0: ["p01-a.png", "p01-b.png"]}),
        (
            ["sinomacrops-bondei-flying-in-the-forest.png", "Pencil drawn Sinomacrops bondei (2).webp", "x.png"],
            {1: ["sinomacrops-bondei-flying-in-the-forest.png"], 2: ["Pencil drawn Sinomacrops bondei (2).webp"]},
        ),
        (["Sinomacrops bondei.png"], {0: ["Sinomacrops bondei.png"]}),
        # all of them are called as the first prompt, so it is their order that counts
        (
            ["sinomacrops_bondei_10.png", "sinomacrops_bondei_2.png", "sinomacrops_bondei_1.png"],
            {0: ["sinomacrops_bondei_1.png"], 1: ["sinomacrops_bondei_2.png"], 2: ["sinomacrops_bondei_10.png"]},
        ),
        (["cat.png", "ant.png", "bee.png"], {0: ["ant.png"], 1: ["bee.png"], 2: ["cat.png"]}),
        (["cat.png", "ant.png"], {}),
        ([], {}),
    ],
)
def test_files_find_their_prompts(names, expected):
    assert match(names, PROMPTS, numbered=True) == expected


def test_numbers_mean_nothing_where_several_species_share_a_folder():
    assert match(["01.png", "02.png"], PROMPTS, numbered=False) == {}
    assert match(["sinomacrops bondei.png"], PROMPTS, numbered=False) == {0: ["sinomacrops bondei.png"]}


def test_slug_keeps_letters_of_every_script():
    assert slug("Wymarły ptak, (2)!") == "wymarły-ptak-2"
