"""Progress bars and the training console."""
