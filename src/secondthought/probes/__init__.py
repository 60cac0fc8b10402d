"""Measurements, each with its controls."""
