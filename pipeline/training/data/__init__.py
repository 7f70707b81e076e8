"""Training data: dataset, batches, aspect-ratio buckets, captions, masks, latent cache."""
