import json
import subprocess
import sys

import pandas as pd
import pytest

from pipeline.commands import data
from pipeline.core import params as params_module
from pipeline.core.errors import InputError
from pipeline.core.paths import Paths
from tests.project import clone, edit_params, environment, git, paleo

KEY = "dimorphodontidae"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Three versions: two committed, one of them tagged, and what lies there now."""
    folder = clone(tmp_path_factory.mktemp("data") / "project")
    edit_params(folder, {}, drop_species=("sinomacrops", "ornithocheiromorpha"))
    for number, good in enumerate((4, 6, 6)):
        source = {"kind": "synthetic", "taxon": KEY, "good": good, "clutter": 2}
        licences = ["CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0"][: 3 - (number == 2)]
        edit_params(folder, {"species": {KEY: {"sources": [source]}}, "collect": {"licences": licences}})
        repro = [sys.executable, "-m", "dvc", "repro", "--quiet", f"collect@{KEY}"]
        subprocess.run(repro, cwd=folder, env=environment(folder), check=True)
        if number < 2:
            git(folder, "add", "-A")
            git(folder, "commit", "-q", "-m", f"pictures {number}")
    git(folder, "tag", "-a", f"{KEY}/v1", "-m", "one", "HEAD~1")
    return folder


def _paths(project):
    return params_module.load(project / "params.yaml"), Paths(project, KEY)


def test_the_log_has_a_line_for_every_version_and_what_changed(project):
    lines = data.log(*_paths(project)).lines
    assert lines[0].split() == ["version", "day", "kept", "sources", "licences", "against", "the", "one", "before"]
    text = "\n".join(lines)
    assert "v1 " in text and "now " in text and "the first" in text and "newly rejected" in text


def test_the_difference_of_two_versions_names_what_came_and_went(project):
    text = "\n".join(data.diff(*_paths(project), ["v1", "HEAD"]).lines)
    assert "added: " in text and f"synthetic:{KEY}" in text and "by licence" in text


def test_a_narrower_licence_policy_shows_as_removed_and_newly_rejected(project):
    text = "\n".join(data.diff(*_paths(project), []).lines)
    assert "removed: " in text and "newly rejected: " in text and "Its licence is 'CC-BY-SA-4.0'" in text


def test_an_unknown_revision_is_one_sentence_that_names_the_known_ones(project):
    with pytest.raises(InputError, match="'v9' names no commit; versions of dimorphodontidae are v1, "):
        data.diff(*_paths(project), ["v9"])


def test_a_version_whose_pictures_are_gone_says_how_to_get_them(project, tmp_path):
    copy = tmp_path / "copy"
    git(tmp_path, "clone", "-q", str(project), str(copy))
    with pytest.raises(InputError, match="neither DVC's cache nor a remote; get them with `dvc fetch --all-commits`"):
        data.diff(params_module.load(copy / "params.yaml"), Paths(copy, KEY), ["HEAD~1", "HEAD"])


def test_the_command_line_prints_it(project):
    done = paleo(project, "data", "log", KEY)
    assert done.returncode == 0 and "against the one before" in done.stdout
    done = paleo(project, "data", "diff", KEY, "v1", "now", "v2")
    assert done.returncode == 1 and done.stderr == "paleo data: a difference is between two versions, not 3\n"


def test_the_log_and_the_difference_are_json_for_programs(project):
    found = json.loads(data.log(*_paths(project)).json_text)
    assert [version["version"] for version in found][::2] == ["v1", "now"] and found[0]["n_kept"] > 0
    changes = json.loads(data.diff(*_paths(project), ["v1", "HEAD"]).json_text)
    assert changes["old"] == "v1" and changes["added"] and set(changes) >= {"removed", "newly rejected", "changed"}


def test_compare_knows_pictures_by_source_and_id():
    columns = ["source", "source_id", "title", "author", "licence", "caption", "sha256", "kept", "reason"]
    rows = [["s", "1", "", "A", "CC0-1.0", "", "x", True, ""], ["s", "2", "", "", "", "", "", False, "No."]]
    before = pd.DataFrame(rows, columns=columns)
    after = before.assign(author=["B", ""], licence=["CC-BY-4.0", ""])
    changes = data.compare(before, after)
    assert changes["changed"] == ["s  1, B, CC-BY-4.0: licence 'CC0-1.0' → 'CC-BY-4.0'; author 'A' → 'B'"]
    assert not changes["added"] and not changes["removed"] and not changes["newly rejected"]
