"""Covers of made-up albums: simple geometric art in three colours, always the same for one album."""

from __future__ import annotations

import colorsys
import random

SIZE = 120  # width and height of the drawing, in its own units


def draw_cover(album: str) -> str:
    """Return the cover of an album, by its ID, as an SVG document."""
    rng = random.Random(f"cover {album}")
    ground, shape, accent = _colors(rng)
    x, y, radius = rng.randint(36, 84), rng.randint(48, 78), rng.randint(20, 36)
    sun = _circle(x, y, radius, accent)
    loudest, slant = rng.randrange(6), rng.choice((-60, 60))
    drawings = (
        [_circle(x, y, 54 - 12 * ring, (shape, ground, accent)[ring % 3]) for ring in range(4)],
        [
            sun,
            _bar(0, y, SIZE, SIZE, shape),
            *(_bar(0, at, SIZE, 4, ground) for at in range(y + 9, SIZE, 11)),
        ],
        [
            _circle(90 if x < SIZE / 2 else 30, 28, 13, accent),
            _peak(x, 40, shape),
            _peak(SIZE - x, 74, accent),
        ],
        [*(_bar(at, -40, 16, 200, shape, slant=slant / 2) for at in range(-90, 210, 32)), sun],
        [
            _bar(15 + 16 * n, 60 - half, 10, 2 * half, accent if n == loudest else shape)
            for n in range(6)
            for half in [50 if n == loudest else rng.randint(14, 44)]
        ],
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}">'
        f"{_bar(0, 0, SIZE, SIZE, ground)}{''.join(rng.choice(drawings))}</svg>"
    )


def _colors(rng: random.Random) -> tuple[str, ...]:
    """Return the colours of ground, shapes and accent, which stand out from each other on any page."""
    hue, step = rng.random(), rng.choice((0.08, -0.08, 0.14, 0.45, 0.55))
    lightness = rng.choice(((0.30, 0.56, 0.84), (0.72, 0.46, 0.22)))
    colors = (colorsys.hls_to_rgb((hue + n * step) % 1, light, 0.55) for n, light in enumerate(lightness))
    return tuple("#" + bytes(round(255 * part) for part in color).hex() for color in colors)


def _circle(x: int, y: int, radius: int, color: str) -> str:
    return f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{color}"/>'


def _bar(  # noqa: PLR0913 - as many as SVG has
    x: int, y: int, width: int, height: int, color: str, *, slant: float = 0
) -> str:
    turned = f' transform="rotate({slant} 60 60)"' if slant else ""
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{color}"{turned}/>'


def _peak(x: int, y: int, color: str) -> str:
    return f'<path d="M{x - 58},{SIZE} L{x},{y} L{x + 58},{SIZE} Z" fill="{color}"/>'
