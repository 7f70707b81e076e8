"""A stub of torchvision, where it cannot be imported: the few transforms that the diffusers examples use.

Only `benchmarks.run_without_torchvision` puts this folder on the path of its process.
"""
