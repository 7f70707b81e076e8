"""`paleo completion SHELL`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from pipeline.core.command_line import PROGRAM, Command, debug_option

EXAMPLES = """
bash, in ~/.bashrc:
  eval "$(paleo completion bash)"
zsh, in ~/.zshrc:
  eval "$(paleo completion zsh)"
fish:
  paleo completion fish > ~/.config/fish/completions/paleo.fish
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@debug_option
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script for completion in bash, zsh or fish.

    Commands, options and the keys of species complete then.
    """
    script = get_completion_class(shell)
    assert script, shell
    root = ctx.find_root().command
    click.echo(script(root, {}, PROGRAM, f"_{PROGRAM}_COMPLETE".upper()).source())
