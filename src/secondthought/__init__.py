"""Trains language models to reflect on their own mistakes, and measures whether the reflection is real."""
