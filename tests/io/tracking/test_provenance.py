"""Where a result comes from: the repository as it is looked at in a browser."""

from __future__ import annotations

import subprocess

import pytest

from pipeline.io.tracking import provenance


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://github.com/owner/repo.git", "https://github.com/owner/repo"),
        ("git@github.com:owner/repo.git", "https://github.com/owner/repo"),
        ("ssh://git@git.example.org/group/repo", "https://git.example.org/group/repo"),
        ("https://user:secret@git.example.org/group/repo.git", "https://git.example.org/group/repo"),
        ("/srv/git/repo.git", ""),
        ("javascript:alert(1)", ""),
    ],
)
def test_a_remote_has_a_page_where_one_can_look_at_it(tmp_path, remote, page):
    assert provenance.web_address(tmp_path) == ""
    for command in (["init", "-q"], ["remote", "add", "origin", remote]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    assert provenance.web_address(tmp_path) == page
