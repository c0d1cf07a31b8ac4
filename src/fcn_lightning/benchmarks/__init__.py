"""Measurements of speed, each of one part."""
