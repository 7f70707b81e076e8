"""The command line `paleo` (= `python -m pipeline`). A stage is imported only when it is asked for."""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import os
import sys
import threading
from pathlib import Path

from pipeline.core.errors import InputError, PaleoError

STAGES = ("collect", "curate", "validate", "train", "sample", "evaluate")
FLOWS = ("run", "plan", "up")
# transformers speaks of a missing torchvision, which nothing here needs, and shows a bar for every file it reads
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
EPILOG = """examples:
  paleo run                              everything that is stale, for every species
  paleo run sinomacrops                  one species
  paleo plan                             what would run, and why
  paleo curate sinomacrops --dry-run     the resolved params of one stage
  paleo generate sinomacrops "Sinomacrops bondei flying over the sea" --seed 7 -n 4
  paleo species add "Pteranodon longiceps"   look it up, and add it to params.yaml
  paleo up --cron "0 3 * * 1"            servers, gallery and a weekly schedule
"""

TRAIN_EXAMPLES = """examples:
  paleo train sinomacrops            start, or go on where the same training was interrupted
  paleo train sinomacrops --resume   go on; when data, params, base or code have changed, say which, and start nothing
  PALEO_ACCELERATE_CONFIG=infra/accelerate/multi_gpu.yaml paleo train sinomacrops     every GPU of this machine
"""
DATA_EXAMPLES = """examples:
  paleo data log sinomacrops            every version with its counts
  paleo data diff sinomacrops           the last version against the one before it
  paleo data diff sinomacrops v2        version 2 against what lies in data/raw now
  paleo data diff sinomacrops v1 v3
"""
EXPORT_EXAMPLES = """examples:
  paleo export sinomacrops --format single-file                    one checkpoint, for ComfyUI and AUTOMATIC1111
  paleo export sinomacrops --format kohya                          a LoRA, LoKr, LoHa or a learnt word for both
  paleo export sinomacrops --format kohya --step 250 --dtype float32 --out ~/ComfyUI/models/loras
  paleo export sinomacrops --format diffusers                      a folder, or a file that diffusers loads
"""
SPECIES = """examples:
  paleo species add "Pteranodon longiceps"             who it is, and an entry with suggested sources
  paleo species add "Pteranodon longiceps" --dry-run   print the entry and write nothing
  paleo species add Ornithocheiromorpha --pbdb 96501   your name for a taxon that the authorities know by another
  paleo species list
  paleo species show sinomacrops

Public databases want to know who asks: set `collect.contact` in params.yaml to an e-mail or web address first.
"""

HELP = {
    "collect": "look at the sources and store candidate pictures with their licences",
    "curate": "decode, check and deduplicate pictures; split into train and holdout",
    "validate": "check the curated set with Great Expectations; red stops the run",
    "train": "fine-tune the base model; snapshots on one trajectory; resumes by itself",
    "sample": "draw the prompt suite with the base model and every snapshot",
    "evaluate": "measure the samples and choose the step",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 (a mistake to mend), 75 (interrupted, saved)."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in FLOWS:  # their own parser knows Prefect; this process becomes theirs
        os.execv(sys.executable, [sys.executable, "-m", "flows", *argv])
    args = parser().parse_args(argv)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        report = args.handler(args)
    except PaleoError as error:
        if args.debug:
            raise
        print(f"paleo {args.command}: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk, or permissions, in the middle of the work
        if args.debug or not error.strerror:
            raise
        where = f" ({error.filename})" if error.filename else ""
        print(
            f"paleo {args.command}: {error.strerror}{where}; earlier results are as they were, "
            "mend it and run this again",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"paleo {args.command}: stopped", file=sys.stderr, flush=True)
        if threading.active_count() > 1:  # downloads from slow servers, which Python would wait for
            os._exit(130)
        return 130
    for line in report.lines if report else ():
        print(line)
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="paleo",
        description="From the name of an extinct animal to a fine-tuned text-to-image model that can be trusted.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _flows(commands)
    for stage in STAGES:
        command = _command(commands, stage, HELP[stage], _run_stage)
        command.add_argument("species", help="its key in params.yaml")
        if stage == "train":
            command.add_argument("--resume", action="store_true", help="go on where it was interrupted, or do nothing")
            command.epilog, command.formatter_class = TRAIN_EXAMPLES, argparse.RawDescriptionHelpFormatter
        if stage == "curate":
            told = "precision, recall and confusion of the stored scores against data/reviews; nothing is changed"
            command.add_argument("--calibrate", action="store_true", help=told)
    _command(commands, "gallery", "build the static pages under site/", _run_gallery)
    _effects(commands)
    return top


def _flows(commands: argparse._SubParsersAction) -> None:
    commands.add_parser("run", help="refresh, reproduce what is stale, register: the whole pipeline", add_help=False)
    commands.add_parser("plan", help="what `paleo run` would do, and why", add_help=False)
    commands.add_parser("up", help="Prefect, MLflow, gallery and schedule on loopback until Ctrl-C", add_help=False)


def _effects(commands: argparse._SubParsersAction) -> None:
    review = _command(commands, "review", "judge pictures by eye on a page, and take the verdicts over", _run_review)
    review.add_argument("species")
    review.add_argument("--import", dest="file", type=Path, metavar="FILE", help="the CSV file that the page saved")
    register = _command(commands, "register", "register the chosen checkpoint (once per lineage)", _run_register)
    register.add_argument("species", nargs="*", help="keys in params.yaml; none: all")
    promote = _command(commands, "promote", "make a registered version the champion", _run_promote)
    promote.add_argument("species")
    promote.add_argument("--version", type=int, help="the version to promote (default: the challenger)")
    promote.add_argument("--force", metavar="REASON", help="promote although it does not beat the champion")
    generate = _command(commands, "generate", "draw pictures with the champion", _run_generate)
    generate.add_argument("species")
    generate.add_argument("prompt")
    generate.add_argument("--seed", type=int, default=1)
    generate.add_argument("--steps", type=int, help="sampler steps (default: sample.steps of params.yaml)")
    generate.add_argument("--guidance", type=float, help="default: sample.guidance_scale of params.yaml")
    generate.add_argument("--sampler", help="default: sample.sampler of params.yaml")
    generate.add_argument("-n", "--number", type=int, default=1, help="pictures, with seeds SEED, SEED+1, …")
    generate.add_argument("--out", type=Path, default=Path("generated"), help="folder (default: generated/)")
    _export(commands)
    _data(commands)
    _species(commands)
    profile = _command(commands, "profile", "lay a profile of infra/profiles over params.yaml", _run_profile)
    profile.add_argument("name", help="such as sd15, sd21 or sdxl")
    pretrain = _command(commands, "pretrain", "build the embedded base model from its drawn world", _run_pretrain)
    pretrain.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    pretrain.add_argument("--work", type=Path, default=Path(".work/pretrain"), help="resumable state and page")
    pretrain.add_argument("--scale", type=float, default=1.0, help="share of the full number of steps")
    pretrain.add_argument("--seed", type=int, default=0)


def _export(commands: argparse._SubParsersAction) -> None:
    text = "write one step of a trained model for ComfyUI, AUTOMATIC1111 or diffusers, and say how to load it"
    export = _command(commands, "export", text, _run_export)
    export.epilog, export.formatter_class = EXPORT_EXAMPLES, argparse.RawDescriptionHelpFormatter
    export.add_argument("species")
    export.add_argument(
        "--format", required=True, help="kohya (adapters, words), diffusers, or single-file (a whole checkpoint)"
    )
    export.add_argument("--step", type=int, help="default: the one that the evaluation chose, else the last")
    export.add_argument("--out", type=Path, help="file or folder (default: in exports/FORMAT/)")
    export.add_argument("--dtype", help="float16, float32 or bfloat16 (default: as it was trained: train.save_dtype)")


def _data(commands: argparse._SubParsersAction) -> None:
    text = "the versions of a species' pictures: what is in them, what came and went"
    kinds = commands.add_parser(
        "data", help=text, description=text, epilog=DATA_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = kinds.add_subparsers(dest="kind", required=True, metavar="log|diff")
    _command(kinds, "log", "every version, one line each", _run_data).add_argument("species")
    diff = _command(kinds, "diff", "what was added, removed, newly rejected", _run_data)
    diff.add_argument("species")
    diff.add_argument(
        "revisions",
        nargs="*",
        metavar="REV",
        help="v3, a commit or tag, `now`; none: the last two; one: from there to now",
    )


def _species(commands: argparse._SubParsersAction) -> None:
    text = "look a species up and add it to params.yaml; list and show what is there"
    raw = argparse.RawDescriptionHelpFormatter
    species = commands.add_parser("species", help=text, description=text, epilog=SPECIES, formatter_class=raw)
    actions = species.add_subparsers(dest="action", required=True, metavar="ACTION")
    asked = "ask the Paleobiology Database and GBIF who it is; write its entry with suggested sources"
    add = actions.add_parser("add", help=asked, description=asked, epilog=SPECIES, formatter_class=raw)
    add.add_argument("name", help='its scientific name, such as "Pteranodon longiceps"')
    add.add_argument("--key", default="", help="names its folders and its model (default: from the genus)")
    add.add_argument("--class-noun", default="", metavar="NOUN", help="what a base model knows (default: by its clade)")
    add.add_argument("--pbdb", type=int, metavar="ID", help="this taxon of the Paleobiology Database (txn:ID)")
    add.add_argument("--gbif", type=int, metavar="KEY", help="this taxon of GBIF")
    add.add_argument("--dry-run", action="store_true", help="print the entry and write nothing")
    listing = actions.add_parser("list", help="every species of params.yaml on one line")
    show = actions.add_parser("show", help="all that is known of one species")
    show.add_argument("species", help="its key in params.yaml")
    for action in (add, listing, show):
        action.add_argument("--debug", action="store_true", help="show the traceback of an error")
        action.set_defaults(handler=_run_species)


def _command(commands, name: str, text: str, handler) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    command.add_argument("--dry-run", action="store_true", help="print the resolved params and do nothing")
    command.set_defaults(handler=handler)
    return command


def _root() -> Path:
    """The folder with params.yaml: this one or the nearest above it."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "params.yaml").is_file()), here)


def _project(args: argparse.Namespace, species: str = ""):
    """The params and paths of the project that the current folder belongs to."""
    from pipeline.core import params as params_module
    from pipeline.core.paths import Paths

    root = _root()
    params = params_module.load(root / "params.yaml")
    if species and species not in params.species:
        near = difflib.get_close_matches(species, params.species, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]!r}?" if near else ""
        raise InputError(
            f"no species {species!r} in params.yaml (there are {', '.join(params.species)}); {hint}".rstrip("; ")
        )
    return params, Paths(root, species)


def _run_stage(args: argparse.Namespace):
    params, paths = _project(args, args.species)
    if args.dry_run:
        return _show(args.command, params, paths)
    if args.command == "train":
        _hand_over(args, paths.root)
    function = "calibrate" if getattr(args, "calibrate", False) else args.command
    more = {"resume": True} if getattr(args, "resume", False) else {}
    return getattr(importlib.import_module(f"pipeline.{args.command}"), function)(params, paths, **more)


def _hand_over(args: argparse.Namespace, root: Path) -> None:
    """To accelerate's launcher, when a config is named and nobody has launched this process yet."""
    launching = importlib.import_module("pipeline.io.launcher")
    flags = [f"--{name}" for name in ("resume", "debug") if getattr(args, name)]
    if found := launching.command(os.environ, root, ["train", args.species, *flags]):
        command, environment = found
        os.execve(command[0], command, environment)


def _run_gallery(args: argparse.Namespace):
    params, paths = _project(args)
    if args.dry_run:
        return _show("gallery", params, paths)
    return importlib.import_module("pipeline.gallery").gallery(params, paths)


def _run_review(args: argparse.Namespace):
    params, paths = _project(args, args.species)
    if args.dry_run:
        return _show("review", params, paths)
    module = importlib.import_module("pipeline.commands.review")
    return module.take_over(params, paths, args.file) if args.file else module.review(params, paths)


def _run_register(args: argparse.Namespace):
    params, paths = _project(args)
    keys = [_project(args, key)[1].species for key in args.species] or list(params.species)
    return importlib.import_module("pipeline.commands.register").register(
        params, [paths.of(key) for key in keys], dry_run=args.dry_run
    )


def _run_promote(args: argparse.Namespace):
    params, paths = _project(args, args.species)
    module = importlib.import_module("pipeline.commands.promote")
    return module.promote(params, paths, version=args.version, force=args.force, dry_run=args.dry_run)


def _run_generate(args: argparse.Namespace):
    params, paths = _project(args, args.species)
    module = importlib.import_module("pipeline.commands.generate")
    chosen = {"steps": args.steps, "guidance_scale": args.guidance, "sampler": args.sampler}
    sample = params.sample.model_copy(update={key: value for key, value in chosen.items() if value is not None})
    if args.dry_run:
        return _show("generate", params.model_copy(update={"sample": sample}), paths)
    return module.generate(params, paths, args.prompt, sample=sample, seed=args.seed, number=args.number, out=args.out)


def _run_export(args: argparse.Namespace):
    params, paths = _project(args, args.species)
    module = importlib.import_module("pipeline.commands.export")
    return module.export(
        params, paths, format=args.format, step=args.step, out=args.out, dtype=args.dtype, dry_run=args.dry_run
    )


def _run_data(args: argparse.Namespace):
    params, paths = _project(args, args.species)
    module = importlib.import_module("pipeline.commands.data")
    if args.kind == "log":
        return module.log(params, paths)
    return module.diff(params, paths, args.revisions)


def _run_species(args: argparse.Namespace):
    params, paths = _project(args, getattr(args, "species", ""))
    module = importlib.import_module("pipeline.commands.species")
    if args.action == "add":
        return module.add(params, paths, args.name, args.key, args.class_noun, args.pbdb, args.gbif, args.dry_run)
    return {"list": module.table, "show": module.show}[args.action](params, paths)


def _run_profile(args: argparse.Namespace):
    return importlib.import_module("pipeline.commands.profile").profile(_root(), args.name, dry_run=args.dry_run)


def _run_pretrain(args: argparse.Namespace):
    module = importlib.import_module("pipeline.commands.pretrain")
    if args.dry_run:
        return module.dry_run(args.scale, args.seed)
    return module.pretrain(args.out, work=args.work, scale=args.scale, seed=args.seed)


def _show(stage: str, params, paths):
    """What a stage would use, as JSON: its own section, the species and the base."""
    from pipeline.core.records import Report

    dump = params.model_dump(mode="json", by_alias=True)
    section = "sample" if stage == "generate" else stage
    shown = {key: dump[key] for key in ("seed", "base", section) if key in dump}
    if paths.species:
        shown["species"] = dump["species"][paths.species]
    return Report(stage, (json.dumps(shown, indent=2, ensure_ascii=False), f"dry run: {stage} did nothing"))


if __name__ == "__main__":
    sys.exit(main())
