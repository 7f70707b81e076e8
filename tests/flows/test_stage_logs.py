from __future__ import annotations

import io

from flows import stage_logs


def follow(tmp_path, text: bytes) -> tuple[list[str], str]:
    shown: list[str] = []
    log = stage_logs.StageLog(tmp_path / "logs/stage.log", shown.append)
    list(log.follow(io.BufferedReader(io.BytesIO(text))))
    return shown, log.path.read_text()


def test_a_short_stage_is_shown_whole_without_dvc_s_noise_and_colours(tmp_path):
    output = (
        b"Running stage 'train@dodo':\n> python -m pipeline train dodo\none\n\x1b[31mtwo\x1b[0m\nUpdating lock file "
        b"'dvc.lock'\n\nTo track the changes with git, run:\n\n\tgit add dvc.lock\n\nTo enable auto staging, run:\n\n"
        b"\tdvc config core.autostage true\nUse `dvc push` to send your updates to remote storage.\nthree"
    )
    shown, file = follow(tmp_path, output)
    assert shown == ["one", "two", "three"]
    assert file == "Running stage 'train@dodo':\n> python -m pipeline train dodo\none\ntwo\nthree\n"


def test_a_flood_is_throttled_but_warnings_and_the_end_come_through(tmp_path):
    flood = "".join(f"line {number}\n" for number in range(20_000)) + "WARNING: hot\n" + "quiet\n" * 50 + "the end\n"
    shown, file = follow(tmp_path, flood.encode())
    assert len(shown) < 60
    assert "WARNING: hot" in shown and shown[-1] == "the end"
    assert len(file.splitlines()) == 20_052


def test_a_progress_bar_is_neither_shown_line_by_line_nor_written(tmp_path):
    ticks = b"".join(b" %d%%|###\r" % number for number in range(100)) + b"100%|######\ndone\n"
    shown, file = follow(tmp_path, ticks)
    assert shown == ["100%|######", "done"]
    assert len(file.splitlines()) == 2


def test_bytes_that_are_no_text_do_no_harm(tmp_path):
    shown, _ = follow(tmp_path, b"\xff\xfe broken\n")
    assert shown == ["\ufffd\ufffd broken"]
