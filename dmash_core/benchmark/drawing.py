"""Pictures of the environments that need no simulator: discs, bars and lines in a NumPy array, 240 by 320 pixels."""

import numpy as np

HEIGHT, WIDTH = 240, 320
PAPER, INK, GRID, GOAL = (255, 255, 255), (60, 60, 60), (225, 225, 225), (0, 158, 115)
PLAIN, CHANGED = (0, 114, 178), (213, 94, 0)  # of a body whose actuators are as they should be, or not
_ROW, _COLUMN = np.arange(HEIGHT)[:, None], np.arange(WIDTH)


def canvas() -> np.ndarray:
    """An empty picture, uint8 (240, 320, 3)."""
    return np.full((HEIGHT, WIDTH, 3), PAPER, dtype=np.uint8)


def _paint(picture: np.ndarray, coverage: np.ndarray, color: tuple[int, int, int]) -> None:
    """Mix the colour in by `coverage`, the share of each pixel that is covered."""
    coverage = np.clip(coverage, 0, 1)[..., None]
    picture[:] = np.rint(picture + coverage * (np.asarray(color) - picture.astype(np.float64)))


def disc(picture: np.ndarray, x: float, y: float, radius: float, color: tuple[int, int, int]) -> None:
    """A disc about pixel (x, y), y downwards."""
    _paint(picture, radius + 0.5 - np.hypot(_COLUMN - x, _ROW - y), color)


def ring(picture: np.ndarray, x: float, y: float, radius: float, color: tuple[int, int, int]) -> None:
    """A circle one and a half pixels wide."""
    _paint(picture, 1.25 - np.abs(radius - np.hypot(_COLUMN - x, _ROW - y)), color)


def bar(picture: np.ndarray, left: float, right: float, top: int, bottom: int, color: tuple[int, int, int]) -> None:
    """A rectangle; its left and right edges lie between pixels."""
    inside = np.minimum(_COLUMN + 0.5, right) - np.maximum(_COLUMN - 0.5, left)
    _paint(picture[top:bottom], np.broadcast_to(inside, (bottom - top, WIDTH)), color)


def segment(
    picture: np.ndarray, start: tuple[float, float], end: tuple[float, float], color: tuple[int, int, int]
) -> None:
    """A line two pixels wide."""
    (x, y), (dx, dy) = start, np.subtract(end, start)
    length = max(dx * dx + dy * dy, 1e-12)
    along = np.clip(((_COLUMN - x) * dx + (_ROW - y) * dy) / length, 0, 1)
    _paint(picture, 1.5 - np.hypot(_COLUMN - x - along * dx, _ROW - y - along * dy), color)
