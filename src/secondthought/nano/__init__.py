"""The embedded model family."""
