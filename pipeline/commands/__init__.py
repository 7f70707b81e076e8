"""The commands beside the DAG: each with the parser that declares its arguments, options and help.

A parser imports nothing heavy, so that help and shell completion come at once; what a command does is imported when
it runs. A new command is one file with its parser and one line here.
"""

COMMANDS = {
    "check": "pipeline.commands.parsers.check:check",
    "species": "pipeline.commands.parsers.species:species",
    "data": "pipeline.commands.parsers.data:data",
    "review": "pipeline.commands.parsers.review:review",
    "register": "pipeline.commands.parsers.register:register",
    "promote": "pipeline.commands.parsers.promote:promote",
    "versions": "pipeline.commands.parsers.versions:versions",
    "generate": "pipeline.commands.parsers.generate:generate",
    "export": "pipeline.commands.parsers.export:export",
    "params": "pipeline.commands.parsers.params:params",
    "profile": "pipeline.commands.parsers.profile:profile",
    "pretrain": "pipeline.commands.parsers.pretrain:pretrain",
    "completion": "pipeline.commands.parsers.completion:completion",
}
