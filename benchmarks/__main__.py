"""Benchmarks (`make bench`): every claim of the README, as a table and as benchmarks/out/bench.json.

What the demo reached goes into benchmarks/results/demo.json, and from there into README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.claims import Claim

OUT = Path(__file__).parent / "out" / "bench.json"
# modules with `measure(folder)`
SUITES = ("startup", "collecting", "curation", "validation", "training", "busy_machine", "demo", "interrupted_runs")
IMG2DATASET, DIFFUSERS_EXAMPLE = "PALEO_BENCH_IMG2DATASET", "PALEO_BENCH_DIFFUSERS"  # read by the suites


def main() -> int:
    arguments = _arguments()
    if arguments.demo_of:
        import_module("benchmarks.demo").publish(arguments.demo_of)
        return 0
    suites = arguments.suites or list(SUITES)
    if arguments.img2dataset:
        os.environ[IMG2DATASET] = str(arguments.img2dataset.absolute())
    if arguments.diffusers_example:
        os.environ[DIFFUSERS_EXAMPLE] = str(arguments.diffusers_example.absolute())
    with tempfile.TemporaryDirectory(prefix="paleoforge-bench-") as folder:
        claims = [claim for name in suites for claim in import_module(f"benchmarks.{name}").measure(Path(folder))]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps([claim.row() for claim in claims], indent=2) + "\n")
    _print(claims)
    return 0 if all(claim.reached for claim in claims) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[[], *SUITES], help=f"default: all of {', '.join(SUITES)}")
    parser.add_argument("--img2dataset", type=Path, help="the program to compare collecting with, installed elsewhere")
    parser.add_argument(
        "--diffusers-example", type=Path, help="train_dreambooth_lora.py of diffusers, to compare training with"
    )
    parser.add_argument(
        "--demo-of", type=Path, metavar="FOLDER", help="measure nothing; publish what a demo reached that has run there"
    )
    return parser.parse_args()


def _print(claims: list[Claim]) -> None:
    table = Table("what", "measured", "target", "reached")
    for claim in claims:
        table.add_row(claim.what, claim.formatted(), claim.target(), claim.verdict().replace("no", "[red]no[/red]"))
    Console().print(table)
    print(f"written to {OUT.relative_to(Path.cwd()) if OUT.is_relative_to(Path.cwd()) else OUT}")


if __name__ == "__main__":
    sys.exit(main())
