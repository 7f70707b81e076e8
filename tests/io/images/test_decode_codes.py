import re
from pathlib import Path

from pipeline.io.images import codecs, decode_codes, decoding


def test_every_code_of_the_decoder_has_its_words():
    source = "".join(Path(module.__file__).read_text() for module in (codecs, decoding))
    given = set(re.findall(r'Rejection\(\s*"\w+", "(\w+)"', source))
    assert given == {code.code for code in decode_codes.CODES}
    assert all(code.title and code.meaning for code in decode_codes.CODES)
