"""Whatever an API sends is read or refused in a sentence: nothing ends in a traceback.

`PALEO_FUZZ=2000 pytest tests/fuzz` mutates every recorded body as often; without it they share a small number.
"""

from __future__ import annotations

import os
import traceback

import pytest

from pipeline.core import strict_json
from pipeline.core.errors import PaleoError
from tests.fuzz.mutations import mutations
from tests.fuzz.readers import SHARED, TAXONOMY, Body, made_bodies, recorded_bodies

PER_RECORDED_BODY = int(os.environ.get("PALEO_FUZZ", "8"))
PER_BODY = 2000


def failures(body: Body, seed: int, n: int) -> list[str]:
    found = []
    for content in mutations(body.content, seed, n):
        try:
            body.read(content)
        except PaleoError as error:
            if len(str(error)) > 1000:
                found.append(f"{body.name}: a sentence of {len(str(error))} characters")
        except Exception:  # noqa: BLE001  # that is what is searched
            found.append(f"{body.name}: {traceback.format_exc(limit=-3)}\n{content[:300]!r}")
    return found


@pytest.mark.parametrize("body", list(made_bodies()), ids=lambda body: body.name)
def test_two_thousand_mutations_of_a_made_body(body):
    assert body.read(body.content) is not None
    found = failures(body, seed=7, n=PER_BODY)
    assert not found, f"{len(found)} failures, the first of them:\n{found[0]}"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the recorded API responses (shared/data/api) are not here")
def test_mutations_of_every_recorded_body():
    found = [one for seed, body in enumerate(recorded_bodies()) for one in failures(body, seed, PER_RECORDED_BODY)]
    assert not found, f"{len(found)} failures, the first of them:\n{found[0]}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"usageKey": ' + "7" * 5000 + "}", "a number of 5000 digits"),
        ('{"confidence": NaN}', "NaN is no JSON"),
        ('{"confidence": -Infinity}', "-Infinity is no JSON"),
        ('{"confidence": 1e999}', "the number 1e999 is too large"),
        ("[" * 100 + "]" * 100, "nested deeper than 64 levels"),
        ("[" * 100_000, "nested deeper than 64 levels"),
    ],
)
def test_what_no_honest_api_sends_is_refused_with_the_reason(text, why):
    with pytest.raises(ValueError, match=why):
        strict_json.parse(text)
    with pytest.raises(PaleoError, match=why):
        TAXONOMY["gbif match"](text.encode())


@pytest.mark.parametrize("field", ["usageKey", "acceptedUsageKey", "confidence", "rank", "status", "matchType"])
@pytest.mark.parametrize("value", ['"' + "7" * 5000 + '"', "[7]", '"NaN"', "{}", "true"])
def test_a_field_of_another_kind_is_named(field, value):
    body = '{"usageKey": 7, "canonicalName": "A", "rank": "GENUS", "matchType": "EXACT", "%s": %s}' % (field, value)  # noqa: UP031
    try:
        TAXONOMY["gbif match"](body.encode())
    except PaleoError as error:
        assert field in str(error) and len(str(error)) < 400
