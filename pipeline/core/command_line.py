"""The command line by click: help that ends with examples, commands imported when they are used, shell completion."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from pipeline.core import registry, verbosity
from pipeline.core.errors import ParamsError

PROGRAM = "paleo"
DISTRIBUTION = "paleoforge"
DEBUG = "paleo.debug"  # in a context's meta: was --debug given?
JSON = "paleo.json"  # and --json?
EXIT_USAGE = 2
EXIT_STOPPED = 130

F = TypeVar("F", bound=Callable[..., Any])


def quiet_option() -> click.Option:
    """`--quiet`: `verbosity.is_quiet` is true for this command."""

    def remember(_ctx: click.Context, _option: click.Parameter, value: bool) -> None:
        verbosity.set_quiet(value or verbosity.is_quiet())

    text = "Print results, warnings and errors only."
    names = ["-q", "--quiet"]
    return click.Option(
        names, is_flag=True, expose_value=False, callback=remember, envvar=verbosity.QUIET_VARIABLE, help=text
    )


class Command(click.Command):
    """A command with `--quiet`, whose help ends with `examples`, printed line by line as they are."""

    def __init__(self, *args: Any, examples: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.params.append(quiet_option())
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(formatter, self.examples)


class Group(click.Group):
    """A group with examples; its commands stand in the order in which they were added."""

    command_class = Command

    def __init__(self, *args: Any, examples: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.examples = examples

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(formatter, self.examples)


class LazyCommands(UserDict[str, Any]):
    """Commands by name; each stands as `module:object`, which is imported when the command is used."""

    def __getitem__(self, name: str) -> click.Command:
        command: click.Command = registry.plugin(self.data[name])
        return command


def write_examples(formatter: click.HelpFormatter, examples: str) -> None:
    if examples:
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line}".rstrip() + "\n" for line in examples.strip("\n").splitlines()))


def debug_option(function: F) -> F:
    """`--debug`: `wants_traceback` is true for this command."""

    def remember(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
        ctx.meta[DEBUG] = value

    text = "Show the traceback of an error."
    return click.option("--debug", is_flag=True, expose_value=False, callback=remember, help=text)(function)


def json_option(function: F) -> F:
    """`--json` of a command that lists something: `wants_json` is true for it."""

    def remember(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
        ctx.meta[JSON] = value

    text = "Print it as JSON, for programs."
    return click.option("--json", is_flag=True, expose_value=False, callback=remember, help=text)(function)


def wants_json(ctx: click.Context) -> bool:
    return bool(ctx.meta.get(JSON))


def version_option() -> click.Option:
    """`--version`: prints it and ends the command."""

    def show(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
        if not value or ctx.resilient_parsing:
            return
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"{DISTRIBUTION} {version(DISTRIBUTION)}")
        except PackageNotFoundError:
            raise click.ClickException(f"{DISTRIBUTION} is not installed; run `make setup`") from None
        ctx.exit()

    text = "Print the version."
    return click.Option(["--version"], is_flag=True, expose_value=False, is_eager=True, callback=show, help=text)


def wants_traceback(ctx: click.Context) -> bool:
    return bool(ctx.meta.get(DEBUG))


def run(program: click.Group, arguments: Sequence[str] | None) -> int:
    """Parse the arguments and run the command; returns its exit code: 2 where the arguments cannot be parsed."""
    verbosity.set_quiet(False)
    try:
        code = program.main(None if arguments is None else list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return EXIT_STOPPED
    return code or 0


def project_root(start: Path) -> Path | None:
    """The nearest folder with params.yaml: `start` or one above it."""
    return next((folder for folder in (start, *start.parents) if (folder / "params.yaml").is_file()), None)


def complete_species(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The species of params.yaml that begin with `incomplete`, with their scientific names as help."""
    root = project_root(Path.cwd())
    species = _species(root / "params.yaml") if root else {}
    return [
        CompletionItem(key, help=str(entry.get("name", "")) if isinstance(entry, Mapping) else None)
        for key, entry in species.items()
        if str(key).startswith(incomplete)
    ]


def _species(file: Path) -> Mapping[str, Any]:
    """The section `species`, unchecked; none where the file is no such YAML, since completion reports no errors."""
    from pipeline.core import yaml_text

    try:
        raw = yaml_text.load(file.read_text(encoding="utf-8"), file.name)
    except (OSError, UnicodeDecodeError, ParamsError):
        return {}
    species = raw.get("species") if isinstance(raw, Mapping) else None
    return species if isinstance(species, Mapping) else {}
