"""`paleo run` and `paleo plan` on a terminal without colours, without progress, and for programs."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

from tests.flows import mini_project as mini

COLOUR = re.compile(r"\x1b\[[0-9;]*[34][0-9](;[0-9]+)*m")  # foreground or background; bold and dim are no colours


def on_a_terminal(folder, *words: str, **more: str) -> tuple[int, str]:
    """Exit code and output of a flow's command on a pseudo-terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "flows", *words]
    env = mini.environment(TERM="xterm-256color", **more)
    child = subprocess.Popen(command, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    output = b""
    try:
        while chunk := os.read(ours, 65536):
            output += chunk
    except OSError:  # how Linux says that the other side has closed
        pass
    os.close(ours)
    return child.wait(), output.decode()


def test_no_color_is_honoured_by_the_run_and_the_plan(finished, server):
    text = (finished / "params.yaml").read_text()
    (finished / "params.yaml").write_text(text.replace("steps: 3", "steps: 2"))
    _, coloured = on_a_terminal(finished, "plan", NO_COLOR="")
    code, plain = on_a_terminal(finished, "plan", NO_COLOR="1")
    assert code == 0 and COLOUR.search(coloured) and not COLOUR.search(plain)
    code, plain = on_a_terminal(finished, "run", NO_COLOR="1", **server)
    assert code == 0 and "chosen step" in plain and not COLOUR.search(plain)
    _, coloured = on_a_terminal(finished, "run", NO_COLOR="", **server)
    assert COLOUR.search(coloured)


def test_a_quiet_run_prints_nothing_but_what_failed(finished, server):
    text = (finished / "params.yaml").read_text()
    (finished / "params.yaml").write_text(text.replace("steps: 3", "steps: 2"))
    done = mini.flows(finished, "run", "--quiet", **server)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "train@ants" in mini.ran(finished)
    log = next((finished / ".work/logs").glob("*/train@ants.log"))
    assert log.read_text(), "the log of a stage is complete"
    mini.wish(finished, "fail", "bees")
    (finished / "params.yaml").write_text(text.replace("min_side: 10", "min_side: 11"))
    done = mini.flows(finished, "run", "-q", **server)
    assert done.returncode == 1 and done.stdout == ""
    assert "paleo run: curate@bees failed: no picture is left; add some" in done.stderr


def test_the_plan_is_json_for_programs(finished):
    text = (finished / "params.yaml").read_text()
    (finished / "params.yaml").write_text(text.replace("steps: 3", "steps: 2"))
    done = mini.flows(finished, "plan", "--json")
    plan = json.loads(done.stdout)
    actions = {stage["stage"]: stage["action"] for stage in plan["stages"]}
    assert actions["train@ants"] == "run" and actions["collect@ants"] == "cached" and plan["missing"] == []
    assert any("train.steps: 3 → 2" in why for stage in plan["stages"] for why in stage["why"])
