"""Forward process, counter-based noise and samplers: tensors in, tensors out, without models or files."""
