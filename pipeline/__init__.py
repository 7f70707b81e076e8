"""paleoforge: from the name of an extinct animal to a fine-tuned text-to-image model."""
