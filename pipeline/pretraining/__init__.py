"""Pre-training of the embedded base model, from drawings alone: tokenizer, CLIP, autoencoder, denoiser."""
