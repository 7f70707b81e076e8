"""What sees: models from pictures to vectors (CLIP) and to sentences (captioner)."""
