"""Stands before the real package on the path; what it lacks (`pipeline.core`) is found there."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
