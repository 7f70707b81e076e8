"""Sampling: specs to pictures with their parameters inside."""
