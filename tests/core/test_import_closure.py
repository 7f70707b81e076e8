"""Which files decide what a module computes: on a small package, and against grimp on the real one."""

from __future__ import annotations

from pathlib import Path

import grimp
import pytest
from ruamel.yaml import YAML

from pipeline.core.errors import InputError
from pipeline.core.import_closure import OBSERVERS, PLUGIN_TABLES, closure, code_digest, import_closure, plugins
from tests.project import ROOT, tracked_files

METHODS, CHECKS = "pipeline/methods/__init__.py", "pipeline/curation/__init__.py"
FILES = {
    "pipeline/__init__.py": "",
    "pipeline/stage.py": "from pipeline.rooms import used\n",
    "pipeline/rooms/__init__.py": "",
    "pipeline/rooms/used.py": "",
    "pipeline/rooms/unused.py": "from pipeline.rooms import used\n",
    "pipeline/io/__init__.py": "",
    "pipeline/io/terminal/__init__.py": "",
    "pipeline/io/terminal/bars.py": "from pipeline.rooms import unused\n",
    METHODS: 'METHODS = {"lora": "pipeline.methods.lora:Lora", "full": "pipeline.methods.full:Full"}\n',
    "pipeline/methods/lora.py": "",
    "pipeline/methods/full.py": "",
    CHECKS: (
        'CHECKS = {"size": "pipeline.curation.size:Size"}\n\n\n'
        "def check(name):\n    return CHECKS[name]\n\n\ndef unrelated():\n    return 1\n"
    ),
    "pipeline/curation/size.py": "from pipeline.curation import helper\n",
    "pipeline/curation/helper.py": "",
}


@pytest.fixture
def tree(tmp_path):
    """A package with two rooms; call it with the code of `pipeline/stage.py`, and it gives the closure's files."""

    def files(code: str, **more: str) -> set[str]:
        for path, text in {**FILES, "pipeline/stage.py": code, **more}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        found = set(import_closure(tmp_path, ["pipeline.stage"]))
        assert {"pipeline/__init__.py", "pipeline/stage.py"} <= found
        return found - {"pipeline/__init__.py", "pipeline/stage.py"}

    files.root = tmp_path
    return files


USED = {"pipeline/rooms/__init__.py", "pipeline/rooms/used.py"}


@pytest.mark.parametrize(
    "code",
    [
        "import pipeline.rooms.used",
        "from pipeline.rooms import used",
        "from pipeline.rooms.used import x",
        "from pipeline.rooms.used import *",
        "from .rooms import used",
        "from .rooms.used import x",
        "def f():\n    from pipeline.rooms import used",
        "class A:\n    try:\n        import pipeline.rooms.used as u\n    except ImportError:\n        u = None",
        "import importlib\nimportlib.import_module('pipeline.rooms.used')",
        "from pipeline.core.registry import load\nload('pipeline.rooms.used:Thing')",
        "PLACE = 'pipeline.rooms.used:Thing'\nregistry.load(PLACE)",
        "import typing\nif typing.TYPE_CHECKING:\n    import torch\nelse:\n    import pipeline.rooms.used",
        "if not TYPE_CHECKING:\n    import pipeline.rooms.used",
        "if x:\n    pass\nelif TYPE_CHECKING:\n    pass\nelse:\n    import pipeline.rooms.used",
    ],
)
def test_every_way_to_import_a_module_counts(tree, code):
    assert tree(code) == USED


@pytest.mark.parametrize(
    "code",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pipeline.rooms import used",
        "import typing as t\nif t.TYPE_CHECKING:\n    from pipeline.rooms import used",
        "if not TYPE_CHECKING:\n    pass\nelse:\n    import pipeline.rooms.used",
        "import json, torch\n'pipeline.rooms.used'",
    ],
)
def test_what_only_a_type_checker_imports_does_not_count(tree, code):
    assert tree(code) == set()


def test_imports_are_followed_and_a_package_brings_its_init_and_what_that_imports(tree):
    found = tree("import pipeline.rooms.unused", **{"pipeline/rooms/__init__.py": "import pipeline.methods.lora"})
    assert found == {*USED, "pipeline/rooms/unused.py", "pipeline/methods/lora.py"}


def test_observers_and_what_only_they_import_do_not_count(tree):
    assert tree("from pipeline.io.terminal import bars") == {"pipeline/io/__init__.py"}


@pytest.mark.parametrize("code", ["from pipeline.methods import METHODS", "from pipeline import methods"])
def test_a_table_that_params_choose_from_brings_no_plugin_and_is_reported(tree, code):
    assert tree(code) == set()
    assert closure(tree.root, ["pipeline.stage"]).chosen_tables == {METHODS}
    assert plugins(tree.root, METHODS)["full"] == "pipeline.methods.full:Full"


def test_a_module_beside_a_table_does_not_use_the_table(tree):
    assert tree("from pipeline.methods import lora") == {"pipeline/methods/lora.py"}
    assert not closure(tree.root, ["pipeline.stage"]).chosen_tables
    assert tree("from pipeline.curation import helper") == {"pipeline/curation/helper.py"}


@pytest.mark.parametrize(
    "code",
    ["from pipeline.curation import CHECKS", "from pipeline.curation import check", "import pipeline.curation as c"],
)
def test_a_table_that_is_used_whole_brings_all_its_plugins_and_their_imports(tree, code):
    assert tree(code) == {CHECKS, "pipeline/curation/size.py", "pipeline/curation/helper.py"}


def test_core_looks_plugins_up_to_check_params_which_is_no_use_of_them(tree):
    core = {"pipeline/core/__init__.py": "", "pipeline/core/params.py": "load('pipeline.curation:CHECKS')"}
    assert tree("import pipeline.core.params", **core) == set(core)


def test_a_function_of_a_table_file_that_never_reads_the_table_brings_no_plugin(tree):
    assert tree("from pipeline.curation import unrelated") == {CHECKS}


def test_templates_belong_to_the_modules_that_mention_them(tree):
    templates = {
        "pipeline/rooms/used.py": "render('used.html')",
        "pipeline/rooms/unused.py": "render('unused.html')",
        "pipeline/rooms/templates/used.html": "{% extends 'base.html' %}{% include 'used.css' %}",
        "pipeline/rooms/templates/used.css": "a {}",
        "pipeline/rooms/templates/base.html": "",
        "pipeline/rooms/unused.html": "",
        "pipeline/rooms/mentioned_nowhere.txt": "",
        "pipeline/rooms/.hidden": "",
        "pipeline/rooms/__pycache__/used.pyc": "",
        "pipeline/rooms/page/__init__.py": "SCRIPT = 'other/other.js'",
        "pipeline/rooms/page/page.html": "",
        "pipeline/rooms/other/__init__.py": "'Documented: page/page.html'",
        "pipeline/rooms/other/other.js": "",
    }
    found = tree("import pipeline.rooms.used", **templates)
    names = {Path(path).name for path in found if not path.endswith(".py")}
    assert names == {"used.html", "used.css", "base.html", "mentioned_nowhere.txt"}
    found = tree("import pipeline.rooms.page", **templates)
    names = {Path(path).name for path in found if not path.endswith(".py")}
    assert names == {"page.html", "other.js", "mentioned_nowhere.txt"}


def test_a_source_that_is_no_python_is_one_sentence(tree):
    with pytest.raises(InputError, match=r"pipeline/stage.py is not valid Python \(line 1: .*; correct it"):
        tree("import (")


def test_the_digest_changes_with_an_edit_of_what_is_imported_and_with_nothing_else(tree):
    tree("from pipeline.rooms import used")
    before = code_digest(["pipeline.stage"], tree.root)
    (tree.root / "pipeline/rooms/unused.py").write_text("x = 1")
    (tree.root / "pipeline/io/terminal/bars.py").write_text("x = 1")
    (tree.root / "pipeline/methods/lora.py").write_text("x = 1")
    (tree.root / "pipeline/methods/new.py").write_text("x = 1")
    assert code_digest(["pipeline.stage"], tree.root) == before
    (tree.root / "pipeline/rooms/used.py").write_text("x = 1")
    assert code_digest(["pipeline.stage"], tree.root) != before


# --- the real package ---


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph("pipeline", exclude_type_checking_imports=True, cache_dir=None)


@pytest.mark.parametrize("stage", list(YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]))
def test_grimp_finds_no_import_of_a_stage_that_its_closure_lacks(imports, stage):
    found = closure(ROOT, [f"pipeline.{stage}"])
    missing, waiting, seen = set(), [f"pipeline.{stage}"], set()
    while waiting:
        module = waiting.pop()
        path = f"{module.replace('.', '/')}.py"
        path = path if (ROOT / path).is_file() else f"{module.replace('.', '/')}/__init__.py"
        if module in seen or path.startswith(OBSERVERS) or path in PLUGIN_TABLES:
            continue
        seen.add(module)
        missing |= {path} - found.files
        waiting += imports.find_modules_directly_imported_by(module)
    assert not missing


@pytest.mark.parametrize("table", [table for table, key in PLUGIN_TABLES.items() if (ROOT / table).is_file()])
def test_plugin_tables_name_modules_that_are_there(table):
    for entry in plugins(ROOT, table).values():
        assert (ROOT / f"{entry.partition(':')[0].replace('.', '/')}.py").is_file(), entry


def test_every_plugin_table_is_listed():
    """One that is not listed would bring no plugin into any closure. Those of observers count for nothing."""
    tables = {
        path
        for path in tracked_files()
        if path.startswith("pipeline/") and path.endswith(".py")
        if not path.startswith(("pipeline/core/", "pipeline/commands/", *OBSERVERS)) and plugins(ROOT, path)
    }
    assert tables <= set(PLUGIN_TABLES)
