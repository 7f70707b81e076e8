"""Stages that take no time, and do on demand (files in `.work/wish/`) what real ones do when things go wrong."""

import json
import os
import signal
import sys
import time
from pathlib import Path

STEP_SECONDS = 0.1


def wish(name):
    """The content of a wish, or None."""
    file = Path(".work/wish") / name
    return file.read_text() if file.is_file() else None


def params():
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(Path("params.yaml").read_text())


def write(folder, **files):
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (Path(folder) / f"{name}.json").write_text(json.dumps(content))


def started(stage, key):
    """A line per start and end, so that a test can see what ran, and what ran at the same time."""
    with Path(".work/started.txt").open("a") as log:
        log.write(f"{stage}@{key} {time.time()} {os.getpid()}\n")


def collect(key):
    if wish("broken-source"):
        sys.exit("paleo collect: the source does not answer; try again later")
    extra = [wish("new-picture")] if wish("new-picture") else []
    write(f"data/raw/{key}", pictures=[*range(params()["species"][key]["pictures"]), *extra])


def curate(key):
    if wish("chatty"):
        print("\n".join(f"line {number}" for number in range(5000)))
    if wish("fail") == key:
        print("looking at pictures")
        sys.exit("paleo curate: no picture is left; add some")
    pictures = json.loads(Path(f"data/raw/{key}/pictures.json").read_text())
    write(f"data/curated/{key}", pictures=pictures, side=params()["curate"]["min_side"])
    time.sleep(float(wish("slow") or 0))


def validate(key):
    """No stage of dvc.yaml: a test adds it."""
    refused = wish("refuse") == key
    names = [f"train/[{key}]|<b>.png"] if refused else []
    entry = {
        "name": "size",
        "title": "large enough",
        "layer": "curated",
        "severity": "stop",
        "success": not refused,
        "observed": "1 of 3 pictures" if refused else "all 3 pictures",
        "offending": names,
    }
    verdict = {
        "species": key,
        "success": not refused,
        "stopped": ["size"] if refused else [],
        "warned": [],
        "expectations": [entry],
        "n_train": 2,
        "n_holdout": 1,
    }
    write(f"reports/validation/{key}", verdict=verdict)
    if refused:
        sys.exit("paleo validate: 1 of 1 expectations failed")
    write("reports/validation", **{f"{key}.statistics": {}})


def train(key):
    state = Path(f".work/train-{key}.json")
    step = json.loads(state.read_text()) if state.is_file() else 0
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    steps = int(wish("steps") or params()["train"]["steps"])
    while step < steps:
        step += 1
        print(f"step {step}", flush=True)
        time.sleep(STEP_SECONDS)
        if wish("interrupt") == key:
            (Path(".work/wish") / "interrupt").unlink()
            stop.append(True)
        if stop:
            state.write_text(json.dumps(step))
            print(f"paleo train: interrupted at step {step}, saved; run it again", file=sys.stderr)
            sys.exit(75)
    state.unlink(missing_ok=True)
    print(f"threads {os.environ.get('OMP_NUM_THREADS')} offline {os.environ.get('HF_HUB_OFFLINE')}")
    pictures = json.loads(Path(f"data/curated/{key}/pictures.json").read_text())
    write(f"models/{key}", weights=[params()["train"], pictures])


def evaluate(key):
    scores = {"chosen_step": 3, "base": {"species_accuracy": 0.25}, "chosen": {"species_accuracy": 1.0}}
    write(f"reports/evaluation/{key}", metrics={"species": key, **scores})
    write(f"reports/evaluation/{key}/details", details=json.loads(Path(f"models/{key}/weights.json").read_text()))


def gallery():
    write("site", index=sorted(path.name for path in Path("models").iterdir() if path.is_dir()))


def register(*keys):
    for key in keys:
        links = {"gallery": f"http://127.0.0.1:8080/{key}/index.html"}
        write(".work/release", **{key: {"version": 1, "alias": "champion", "lineage_id": "0", "links": links}})
        print(f"{key}: version 1")


if __name__ == "__main__":
    stage, *keys = sys.argv[1:]
    if stage == "check":
        sys.exit("paleo check: params.yaml: unknown key 'sede'; did you mean 'seed'?" if "sede" in params() else 0)
    keys = keys or [key for key in [os.environ.get("DVC_STAGE", "").partition("@")[2]] if key]
    Path(".work").mkdir(exist_ok=True)
    started(stage, ",".join(keys))
    globals()[stage](*keys)
    started(f"end-{stage}", ",".join(keys))
