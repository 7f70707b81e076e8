"""In the place of torchvision, where it cannot be imported: the few transforms that the diffusers examples use.

Only `benchmarks.example` puts this folder on the path of its process.
"""
