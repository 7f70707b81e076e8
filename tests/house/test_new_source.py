"""A new picture source is one new file and one line: it collects pictures end to end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from pipeline.io.web.client import REPLAY
from tests.pictures import encoded, scene
from tests.project import ROOT, edit_params, environment, paleo
from tests.replay import replay

PLUGIN = '''
"""A museum's catalogue of pictures."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pipeline.core.data_params import Host
from pipeline.core.param_types import PositiveInt, SourceParams, Text
from pipeline.core.records import Candidate, Request
from pipeline.sources.json_reader import read_object
from pipeline.sources.source import Offer, Source, SourceContext

HOST = "api.museum.example"


class MuseumParams(SourceParams):
    """The catalogue of a museum, by department."""

    kind: Literal["museum"]
    department: Text
    limit: PositiveInt = 10

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.department}"


class MuseumSource(Source[MuseumParams]):
    Params = MuseumParams
    hosts: ClassVar = {HOST: Host(connections=1, requests_per_second=500, requests_per_day=50)}
    credentials = ("MUSEUM_TOKEN",)
    wants_contact = True
    keeps_vanished = True

    def pictures(self, params: MuseumParams, context: SourceContext) -> Iterator[Offer]:
        token = "".join(context.credentials)
        request = Request(f"https://{HOST}/works", (("department", params.department),), authorization=token)
        for work in read_object(context.fetch(request), HOST).items("works")[: params.limit]:
            licence, url = work.text("licence"), work.address("image")
            candidate = Candidate(params.label, work.required_text("id"), url, licence=licence, evidence=work.evidence)
            yield candidate, None
'''
LINE = '    "museum": "pipeline.sources.museum:MuseumSource",'
WORKS = {"works": [{"id": n, "image": f"https://a.example/{n}.jpg", "licence": "CC0-1.0"} for n in range(3)]}


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of the code with one more file and one more line, and a species that uses them."""
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    del params["train"]  # its plugins are not what this is about
    yaml.dump(params, tmp_path / "params.yaml")
    (tmp_path / "pipeline/sources/museum.py").write_text(PLUGIN)
    registry = tmp_path / "pipeline/sources/__init__.py"
    before, brace, after = registry.read_text().partition("\n}\n")
    registry.write_text(f"{before}\n{LINE}{brace}{after}")
    source = {"kind": "museum", "department": "palaeoart", "limit": 2}
    species = {"name": "Raphus cucullatus", "class_noun": "bird", "sources": [source]}
    edit_params(tmp_path, {"species": {"dodo": species}, "collect": {"contact": "curator@example.org"}})
    return tmp_path


def _loaded(project: Path, expression: str) -> dict:
    load = "from pipeline.core import params; p = params.load(pathlib.Path('params.yaml'))"
    command = [sys.executable, "-c", f"import json, pathlib; {load}; {expression}"]
    done = subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_a_new_source_collects_pictures_with_its_own_params_hosts_and_credentials(project):
    pictures = {f"a.example/{n}.jpg": encoded(scene(n), "JPEG") for n in range(3)}
    with replay({"api.museum.example/works?department=palaeoart": WORKS, **pictures}) as server:
        done = paleo(project, "collect", "dodo", **{REPLAY: server.url, "MUSEUM_TOKEN": "hush"})
    assert done.returncode == 0, done.stderr
    assert "collect dodo: 2 of 2 files kept" in done.stdout
    manifest = pd.read_parquet(project / "data/raw/dodo/manifest.parquet")
    assert list(manifest["source"]) == ["museum:palaeoart"] * 2 and list(manifest["source_id"]) == ["0", "1"]
    assert manifest["kept"].all() and manifest["evidence"].str.len().eq(64).all()
    request = next(seen for seen in server.seen if seen.host == "api.museum.example")
    assert request.headers["authorization"] == "hush" and "curator@example.org" in request.headers["user-agent"]


def test_its_limits_are_among_the_hosts_and_params_override_them(project):
    hosts = "print(json.dumps({name: host.model_dump() for name, host in p.collect.hosts.items()}))"
    own = {"connections": 1, "requests_per_second": 500, "requests_per_day": 50}
    assert _loaded(project, hosts)["api.museum.example"] == own
    edit_params(project, {"collect": {"hosts": {"api.museum.example": {"connections": 2, "requests_per_second": 1}}}})
    changed = _loaded(project, hosts)
    assert changed["api.museum.example"] == {"connections": 2, "requests_per_second": 1, "requests_per_day": None}
    assert changed["default"]["connections"] == 2


def test_its_mistakes_in_params_are_named_like_those_of_any_source(project):
    text = (project / "params.yaml").read_text()
    for old, new, sentence in (
        ("department:", "departmnet:", "unknown key 'species.dodo.sources.0.departmnet'; did you mean 'department'?"),
        ("kind: museum", "kind: musem", "species.dodo.sources.0.kind is 'musem': known are synthetic, folder, "),
    ):
        (project / "params.yaml").write_text(text.replace(old, new))
        done = paleo(project, "collect", "dodo")
        assert done.returncode == 1 and sentence in done.stderr
    assert "museum" in done.stderr
