"""Rendering of environments without a simulator: discs, bars and lines in a NumPy array, 240 by 320 pixels.

Coordinates are pixels (x, y), y downwards. Only the pixels around a shape are touched, so a picture takes about a
millisecond, and the cost of a video is its encoding.
"""

from collections.abc import Callable

import numpy as np

HEIGHT, WIDTH = 240, 320
PAPER, INK, GRID, GOAL = (255, 255, 255), (60, 60, 60), (225, 225, 225), (0, 158, 115)
PLAIN, CHANGED = (0, 114, 178), (213, 94, 0)  # body with normal, or with inverted or swapped actuators
Color = tuple[int, int, int]


def canvas() -> np.ndarray:
    """An empty picture, uint8 (240, 320, 3)."""
    return np.full((HEIGHT, WIDTH, 3), PAPER, dtype=np.uint8)


def _paint(picture: np.ndarray, xs, ys, margin: float, color: Color, cover: Callable) -> None:
    """Blend the colour into pixels within `margin` of the bounding box of `xs`, `ys`, with opacity cover(x, y)."""
    left, right = max(0, int(min(xs) - margin)), min(WIDTH, int(max(xs) + margin) + 2)
    top, bottom = max(0, int(min(ys) - margin)), min(HEIGHT, int(max(ys) + margin) + 2)
    if left >= right or top >= bottom:
        return
    share = np.clip(cover(np.arange(left, right), np.arange(top, bottom)[:, None]), 0, 1)[..., None]
    part = picture[top:bottom, left:right]
    part[:] = np.rint(part + share * (np.array(color, dtype=np.float64) - part))


def disc(picture: np.ndarray, x: float, y: float, radius: float, color: Color) -> None:
    """A disc about (x, y)."""
    _paint(picture, [x], [y], radius + 1, color, lambda u, v: radius + 0.5 - np.hypot(u - x, v - y))


def ring(picture: np.ndarray, x: float, y: float, radius: float, color: Color) -> None:
    """A circle line 1.5 pixels wide."""
    _paint(picture, [x], [y], radius + 2, color, lambda u, v: 1.25 - np.abs(radius - np.hypot(u - x, v - y)))


def bar(picture: np.ndarray, left: float, right: float, top: float, bottom: float, color: Color) -> None:
    """A rectangle whose edges may lie between pixels."""

    def cover(u, v):
        wide = np.minimum(u + 0.5, right) - np.maximum(u - 0.5, left)
        high = np.minimum(v + 0.5, bottom) - np.maximum(v - 0.5, top)
        return np.clip(wide, 0, 1) * np.clip(high, 0, 1)

    _paint(picture, [left, right], [top, bottom], 1, color, cover)


def segment(picture: np.ndarray, start: tuple[float, float], end: tuple[float, float], color: Color) -> None:
    """A line two pixels wide."""
    (x, y), (dx, dy) = start, np.subtract(end, start)
    length = max(dx * dx + dy * dy, 1e-12)

    def cover(u, v):
        along = np.clip(((u - x) * dx + (v - y) * dy) / length, 0, 1)
        return 1.5 - np.hypot(u - x - along * dx, v - y - along * dy)

    _paint(picture, (start[0], end[0]), (start[1], end[1]), 2, color, cover)
