"""`paleo species add --folder`: an entry for one's own pictures, checked before it is written."""

from __future__ import annotations

import difflib

import pytest

from pipeline import __main__ as command_line
from pipeline.core import params as params_module
from tests.pictures import encoded, scene
from tests.project import ROOT, edit_params

CATS = ("--folder", "pictures/cats", "--noun", "cat", "--licence", "CC-BY-4.0", "--author", "Jane Doe", "--trusted")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The project's params.yaml with a folder of six pictures, a caption and a file that is no picture."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    folder = tmp_path / "pictures/cats"
    folder.mkdir(parents=True)
    for number in range(6):
        (folder / f"{number}.png").write_bytes(encoded(scene(number)))
    (folder / "0.txt").write_text("a cat on a wall")
    (folder / "notes.pdf").write_bytes(b"%PDF-1.7")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def add(capsys, *words: str) -> tuple[int, str, str]:
    code = command_line.main(["species", "add", *words])
    return code, *capsys.readouterr()


def species(project):
    return params_module.load(project / "params.yaml").species


def test_what_a_user_would_type_writes_an_entry_and_no_other_byte(project, capsys):
    before = (project / "params.yaml").read_text()
    code, out, err = add(capsys, *CATS)
    assert (code, err) == (0, "")
    steps = list(difflib.ndiff(before.splitlines(), (project / "params.yaml").read_text().splitlines()))
    assert [step for step in steps if step[0] in "-?"] == [] and sum(step[0] == "+" for step in steps) == 5
    cats = species(project)["cats"]
    assert (cats.name, cats.class_noun, cats.taxon) == ("cats", "cat", None)
    [source] = cats.sources
    assert source.model_dump() == {
        "kind": "folder",
        "path": "pictures/cats",
        "licence": "CC-BY-4.0",
        "author": "Jane Doe",
        "trusted": True,
    }
    assert out.startswith("6 pictures in pictures/cats, 1 with a caption (.txt); not pictures: notes.pdf\n")
    assert out.endswith("added to params.yaml as 'cats'; `paleo run cats` does the rest\n") and "warning" not in out


def test_a_dry_run_writes_nothing(project, capsys):
    before = (project / "params.yaml").read_bytes()
    code, out, _ = add(capsys, *CATS, "--dry-run")
    assert code == 0 and "class_noun: cat " in out and (project / "params.yaml").read_bytes() == before


def test_a_name_and_a_key_of_ones_own(project, capsys):
    assert add(capsys, "Tom, the cat: mine", "--key", "tom", *CATS)[0] == 0
    assert species(project)["tom"].name == "Tom, the cat: mine"


def test_the_folder_is_meant_from_where_one_is(project, capsys, monkeypatch):
    monkeypatch.chdir(project / "pictures")
    assert add(capsys, "--folder", "cats", *CATS[2:])[0] == 0
    assert species(project)["cats"].sources[0].path == "pictures/cats"


def test_a_folder_elsewhere_is_named_in_full(project, capsys, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "My Dogs"
    (project / "pictures/cats").rename(other)
    code, out, _ = add(capsys, "--folder", str(other), *CATS[2:])
    assert code == 0 and species(project)["my-dogs"].sources[0].path == str(other)
    assert species(project)["my-dogs"].name == "My Dogs" and "outside the project" in out


def test_a_licence_may_be_written_in_words(project, capsys):
    code, _, _ = add(capsys, *CATS[:4], "--license", "Creative Commons Attribution 4.0 International", "--trusted")
    assert code == 0 and species(project)["cats"].sources[0].licence == "CC-BY-4.0"


def test_a_licence_of_ones_own_may_be_accepted(project, capsys):
    edit_params(project, {"collect": {"licences": ["own"]}})
    assert add(capsys, *CATS[:4], "--licence", "own", "--trusted")[0] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--folder", "pictures/cat", *CATS[2:]), "'pictures/cat' is not there; did you mean 'pictures/cats'?"),
        (("--folder", "params.yaml", *CATS[2:]), "'params.yaml' is a file, not a folder"),
        (("--folder", "empty", *CATS[2:]), "the picture folder 'empty' holds no picture"),
        (("--folder", "texts", *CATS[2:]), "'texts' holds no picture, but 1 other file (a.docx); put JPEG"),
        (
            (*CATS[:4], "--licence", "CC-BY-4"),
            "--licence 'CC-BY-4' is no licence that is known; did you mean 'CC-BY-4.0",
        ),
        ((*CATS[:4], "--licence", "CC-BY-NC-4.0"), "'CC-BY-NC-4.0' is not among collect.licences in params.yaml"),
        (
            (*CATS, "--key", "My Cats"),
            "--key 'My Cats' is no key (small letters, digits, - and _); did you mean 'my-cats",
        ),
        ((*CATS, "--key", "sinomacrops"), "has a species 'sinomacrops' already (Sinomacrops bondei)"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(project, capsys, words, sentence):
    (project / "empty").mkdir()
    (project / "texts").mkdir()
    (project / "texts/a.docx").write_bytes(b"PK\x03\x04")
    before = (project / "params.yaml").read_bytes()
    code, out, err = add(capsys, *words)
    assert code == 1 and sentence in err and err.count("\n") == 1 and not out
    assert (project / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "name a species, or a folder of your own pictures with --folder DIR"),
        (CATS[:2], "--folder needs --noun"),
        (CATS[:4], "--folder needs --licence"),
        ((*CATS, "--gbif", "7"), "--gbif is for a look-up by name"),
        (("Felis catus", "--trusted"), "--trusted is said of a folder of pictures; name it with --folder DIR"),
    ],
)
def test_options_that_do_not_go_together_are_exit_code_2(project, capsys, words, sentence):
    code, _, err = add(capsys, *words)
    assert code == 2 and sentence in err


@pytest.mark.parametrize(
    ("words", "warning"),
    [
        (CATS[:-1], "--trusted keeps what you chose by hand"),
        ((*CATS[:6], "--trusted"), "CC-BY-4.0 requires credit, and no --author is named"),
        (("cat", *CATS), "'cat' is both its name and its noun"),
    ],
)
def test_what_may_go_wrong_later_is_a_warning(project, capsys, words, warning):
    code, out, _ = add(capsys, *words)
    assert code == 0 and [line for line in out.splitlines() if line.startswith("warning: ") and warning in line]


def test_too_few_pictures_are_a_warning(project, capsys):
    for number in range(3):
        (project / f"pictures/cats/{number}.png").unlink()
    assert "warning: 4 are needed to train" in add(capsys, *CATS)[1]


def test_the_same_folder_twice_takes_another_key(project, capsys):
    add(capsys, *CATS)
    code, _, err = add(capsys, *CATS)
    assert code == 1 and "choose another key, such as --key cats-2" in err
