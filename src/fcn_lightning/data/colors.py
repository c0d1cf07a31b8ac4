"""Colours for classes that come without."""

import colorsys


def distinct_colors(number: int) -> tuple[tuple[int, int, int], ...]:
    """Return RGB colours, 0 to 255, that differ for any number: hues a golden ratio apart, neighbours of other brightness."""
    rgb = [colorsys.hsv_to_rgb(index * 0.618 % 1, 0.7, 0.95 if index % 2 else 0.7) for index in range(number)]
    return tuple((round(r * 255), round(g * 255), round(b * 255)) for r, g, b in rgb)
