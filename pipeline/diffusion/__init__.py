"""Tensors in, tensors out: the forward process, noise by counter, samplers. Knows no model and no file."""
