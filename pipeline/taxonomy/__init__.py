"""Taxonomic authorities: requests to them, what their responses say of a name, and the entry for params.yaml.

Everything here is pure: `fetch` (a Request to an ApiResponse) is handed in by the command.
"""
