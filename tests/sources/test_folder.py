from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.core.records import Rejection
from pipeline.sources import folder
from pipeline.sources.folder import FolderParams
from tests.sources.fake_fetch import in_turn, offers


def _source(path: str = "pictures", **more) -> FolderParams:
    return FolderParams(kind="folder", path=path, licence="CC0-1.0", **more)


def _pictures(root: Path, source: FolderParams):
    return offers(source, in_turn(), root)  # it requests nothing


def _offers(root: Path, source: FolderParams) -> dict:
    return {candidate.source_id: (candidate, content) for candidate, content in _pictures(root, source)}


@pytest.fixture
def project(tmp_path) -> Path:
    below = tmp_path / "pictures/below"
    below.mkdir(parents=True)
    (below / "b.PNG").write_bytes(b"two")
    (tmp_path / "pictures/a.jpg").write_bytes(b"one")
    (tmp_path / "pictures/a.txt").write_bytes(b"\xef\xbb\xbf a dog,\n  asleep ")
    (tmp_path / "pictures/.hidden.jpg").write_bytes(b"no")
    (tmp_path / "pictures/.git").mkdir()
    (tmp_path / "pictures/.git/c.jpg").write_bytes(b"no")
    return tmp_path


def test_files_come_sorted_with_their_captions(project):
    offers = _offers(project, _source(author="Jane Doe"))
    assert list(offers) == ["a.jpg", "below/b.PNG"]
    candidate, content = offers["a.jpg"]
    assert content == b"one"
    assert (candidate.caption, candidate.title) == ("a dog, asleep", "")
    assert (candidate.source, candidate.image_url) == ("folder:pictures", "pictures/a.jpg")
    assert (candidate.author, candidate.licence) == ("Jane Doe", "CC0-1.0")
    assert candidate.licence_url == "https://creativecommons.org/publicdomain/zero/1.0/"
    assert offers["below/b.PNG"][0].caption == ""


@pytest.mark.parametrize(
    ("written", "name"),
    [("cc by-sa 4.0", "CC-BY-SA-4.0"), (" House Licence ", "House Licence"), ("CC0-1.0", "CC0-1.0")],
)
def test_the_licence_is_named_as_everywhere_or_as_it_was_written(project, written, name):
    source = FolderParams(kind="folder", path="pictures", licence=written)
    candidate, _ = _offers(project, source)["a.jpg"]
    assert (candidate.licence, candidate.licence_text) == (name, written)


def test_an_absolute_path_is_taken_as_it_is(project):
    assert len(_offers(Path("/"), _source(str(project / "pictures")))) == 2


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nowhere", "is not there"),
        ("pictures/a.jpg", "is a file"),
        ("empty", "holds no picture"),
        ("captions", "holds no picture"),
    ],
)
def test_a_folder_without_pictures_is_one_clear_sentence(project, path, problem):
    (project / "empty").mkdir()
    (project / "captions").mkdir()
    (project / "captions/a.txt").write_text("alone")
    with pytest.raises(InputError, match=rf"'{path}' {problem}.*`path:` in params.yaml"):
        _offers(project, _source(path))


def test_a_caption_must_be_text(project):
    (project / "pictures/a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no UTF-8 text; save it as UTF-8"):
        _offers(project, _source())


def test_a_file_that_cannot_be_read_is_a_row_and_no_crash(project, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    _, content = _offers(project, _source())["a.jpg"]
    assert isinstance(content, Rejection) and content.code == "unreadable_file"
    assert "Permission denied" in content.sentence


def test_a_disk_image_among_the_pictures_is_not_read(project):
    with (project / "pictures/disk.img").open("wb") as stream:
        stream.truncate(folder.MAX_BYTES + 1)
    assert _offers(project, _source())["disk.img"][1].code == "too_many_bytes"


def test_names_that_are_no_unicode_are_still_names(project):
    (project / "pictures" / b"caf\xe9.jpg".decode("utf-8", "surrogateescape")).write_bytes(b"x")
    (project / "pictures/cafe\u0301.jpg").write_bytes(b"y")
    assert {"caf\ufffd.jpg", "caf\u00e9.jpg"} <= set(_offers(project, _source()))
