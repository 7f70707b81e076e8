import csv

import pytest

from pipeline.sources.licences import address_of, first_named, spdx
from tests.sources.fake_fetch import RECORDED, objects, recordings


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("pd", "PDM-1.0"),
        ("Public domain", "PDM-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "PDM-1.0"),
        ("cc0", "CC0-1.0"),
        ("CC0_1_0", "CC0-1.0"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/deed.en", "CC0-1.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/legalcode", "CC0-1.0"),
        ("https://creativecommons.org/licenses/cc0/1.0/", "CC0-1.0"),
        ("Creative Commons Zero, Public Domain Dedication", "CC0-1.0"),
        ("cc-by-sa-4.0", "CC-BY-SA-4.0"),
        ("CC BY-SA 4.0", "CC-BY-SA-4.0"),
        ("https://creativecommons.org/licenses/by-sa/4.0", "CC-BY-SA-4.0"),
        ("Creative Commons Attribution-Share Alike 4.0", "CC-BY-SA-4.0"),
        ("Attribution 4.0 International (CC BY 4.0)", "CC-BY-4.0"),
        ("CC_BY_NC_4_0", "CC-BY-NC-4.0"),
        ("http://creativecommons.org/licenses/by-nc/4.0/legalcode", "CC-BY-NC-4.0"),
        ("  cc by-sa 3.0 ", "CC-BY-SA-3.0"),
        ("cc-by-sa-3.0-de", "CC-BY-SA-3.0-DE"),
        ("CC BY-SA 3.0 de", "CC-BY-SA-3.0-DE"),
        ("https://creativecommons.org/licenses/by-sa/3.0/de/deed.en", "CC-BY-SA-3.0-DE"),
        ("https://creativecommons.org/licenses/by/4.0/deed.de", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by-nd-nc/2.0/jp/", "CC-BY-NC-ND-2.0-JP"),
        ("cc-by-sa-3.0,2.5,2.0,1.0", "CC-BY-SA-3.0"),
        ("cc-by-sa-3.0-migrated", "CC-BY-SA-3.0"),
        ("//creativecommons.org/licenses/by/2.0/?ref=openverse", "CC-BY-2.0"),
    ],
)
def test_what_sources_write_has_one_name(written, name):
    assert spdx(written) == name


@pytest.mark.parametrize(
    "written",
    [
        "",
        "CC BY",
        "CC BY-NC-ND",
        "cc-by-nc",
        "All rights reserved",
        "No restrictions",
        "unspecified",
        "gfdl",
        "No known copyright restrictions",
        "https://www.flickr.com/commons/usage/",
        "CC BY 9.0",
        "CC SA 1.0",
        "http://creativecommons.org/licenses/by/9.0/",
        "https://creativecommons.org.example/licenses/by/4.0/",
        "not CC BY 4.0",
        "CC BY 4.0 or fetch me",
        "CC BY 4.0 (CC BY 3.0)",
        "4.0",
        "by-" * 200,
        "https://evil.example/?https://creativecommons.org/licenses/by/4.0/",
        "MIT",
        "\u202eCC BY 4.0",
    ],
)
def test_a_text_that_names_no_licence_exactly_has_no_spdx_name(written):
    assert spdx(written) == ""


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("CC-BY-SA-3.0-DE", "https://creativecommons.org/licenses/by-sa/3.0/de/"),
        ("CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/"),
        ("CC0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("PDM-1.0", "https://creativecommons.org/publicdomain/mark/1.0/"),
    ],
)
def test_every_name_has_the_address_of_its_licence_and_back(name, address):
    assert address_of(name) == address
    assert spdx(address) == name == spdx(name)


def test_other_licences_have_no_address_here():
    assert address_of("") == address_of("MIT") == address_of("GFDL-1.3") == ""


def test_the_first_that_can_be_named_counts():
    assert first_named("", "No restrictions", "https://creativecommons.org/licenses/by/2.0/", "cc0") == "CC-BY-2.0"
    assert first_named("never seen", "") == ""


UNNAMED = {  # of all that the recorded responses say
    None,
    "CC BY-NC-ND",
    "CC BY",
    "All rights reserved",
    "No restrictions",
    "https://www.flickr.com/commons/usage/",
    "No known copyright restrictions",
    "cc-by-nc",
    "cc-by",
    "cc-by-nc-nd",
    "cc-by-nc-sa",
    "cc-by-sa",
    "CC-BY",
    "CC-BY-NC",
    "CC-BY-NC-SA",
    "CC-BY-NC-ND",
}


def test_of_all_recorded_licences_only_these_have_no_name():
    fields = set()
    for _, response in [*recordings("wikimedia_commons/*.json"), *recordings("gbif/*.json")]:
        for item in objects(response):
            fields.add(item.get("license") if isinstance(item.get("license"), str) else None)
            for key in ("License", "LicenseShortName", "LicenseUrl", "UsageTerms"):
                fields.add(item[key].get("value") if isinstance(item.get(key), dict) else None)
    for _, response in [*recordings("inaturalist/*.json"), *recordings("openverse/*.json")]:
        for item in objects(response):
            fields.add(item.get("license_code"))
            fields.add(item.get("license_url"))
            if item.get("license_version"):
                fields.add(f"{item['license']} {item['license_version']}")
    with (RECORDED / "phylopic/harvest_2026_pterosaurs.csv").open() as stream:
        fields |= {row["license_url"] for row in csv.DictReader(stream)}
    assert len(fields) > 40
    assert {text for text in fields if text is None or not spdx(text)} <= UNNAMED
