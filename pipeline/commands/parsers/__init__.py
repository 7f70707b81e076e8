"""The parsers of the commands, one file each: arguments, options, help and examples by click; nothing heavy here."""
