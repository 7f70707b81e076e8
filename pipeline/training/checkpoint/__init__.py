"""Resumable training state: saving, loading, identity."""
