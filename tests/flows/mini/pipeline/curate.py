"""Its bytes are a dependency of `curate`."""
