"""Cats and dogs: poses, heads and coats, painted part by part."""

from functools import lru_cache
from itertools import product

from drawing.brush import curve, loop, noise_tile, oval, pick, ramp, rgb

import numpy as np

# Parts from back to front, each a role and a tube x,y,radius: an average pet on the ground y = 0,
# facing +x.
_POSES = """
stand tail -.6,-.88,.9 -.92,-.95,1 -1.1,-1.2,1 -1.08,-1.55,.6
stand curl -.6,-.9,.8 -.84,-1.15,1 -.66,-1.38,1 -.42,-1.3,1 -.42,-1.14,.7
stand leg -.38,-.74,.2 -.36,-.42,.13 -.52,-.22,.085 -.48,-.06,.075 -.4,-.055,.075
stand leg .6,-.71,.15 .62,-.29,.09 .62,-.07,.075 .7,-.055,.075
stand body -.5,-.81,.275 -.1,-.77,.25 .3,-.79,.275 .5,-.85,.25 | body .46,-.87,.23 .66,-1.05,.2 .84,-1.3,.2
stand bib .66,-.92,.1 .72,-.78,.12 .62,-.66,.08
stand leg -.54,-.74,.23 -.5,-.42,.14 -.67,-.22,.085 -.62,-.06,.08 -.53,-.055,.08
stand leg .46,-.71,.17 .49,-.29,.095 .49,-.07,.08 .57,-.055,.08 | head .88,-1.38
side tail -.45,-.14,1 -.75,-.09,1 -.98,-.13,1 -1.08,-.28,.6
side leg .33,-.7,.13 .4,-.3,.085 .42,-.06,.075 .5,-.055,.075 | body -.2,-.36,.35 0,-.6,.3 .16,-.82,.24
side body .12,-.8,.22 .24,-1,.18 .3,-1.25,.18 | bib .36,-.92,.08 .35,-.72,.12 .32,-.5,.06
side leg .2,-.72,.15 .27,-.35,.09 .27,-.06,.08 .35,-.055,.08 | thigh -.22,-.3,.25 -.12,-.25,.24
side paw -.12,-.08,.085 .1,-.07,.08 | head .3,-1.32
lie tail -.75,-.16,1 -1.02,-.1,1 -1.18,-.12,1 -1.28,-.28,.6 | leg .5,-.2,.12 .8,-.1,.09 1.04,-.09,.08
lie body -.55,-.3,.3 -.1,-.33,.29 .35,-.36,.31 | body .36,-.4,.28 .5,-.58,.2 .6,-.78,.2
lie bib .6,-.5,.1 .6,-.36,.12 .58,-.22,.06 | thigh -.5,-.25,.24 -.4,-.22,.22
lie paw -.4,-.075,.08 -.12,-.07,.075 | leg .38,-.24,.15 .5,-.12,.11 .72,-.08,.085 .9,-.075,.08
lie head .6,-.84
sleep body -.38,-.36,.34 -.05,-.4,.36 .28,-.33,.3 | thigh -.42,-.26,.25 -.3,-.24,.23
sleep tail -.68,-.25,.9 -.6,-.08,1.1 -.2,-.06,1.1 .2,-.08,.7 | paw .4,-.08,.09 .74,-.07,.085 | head .52,-.34
front tail -.3,-.08,1 -.6,-.07,1 -.78,-.14,1 -.82,-.32,.6 | body 0,-.3,.35 0,-.62,.3 0,-.85,.24
front thigh -.28,-.2,.19 -.32,-.14,.14 | thigh .28,-.2,.19 .32,-.14,.14 | paw -.3,-.07,.085 -.25,-.06,.085
front paw .3,-.07,.085 .25,-.06,.085 | body 0,-.8,.24 0,-.98,.19 0,-1.2,.18
front bib 0,-.94,.13 0,-.76,.16 0,-.58,.09 | leg -.14,-.66,.12 -.13,-.3,.09 -.13,-.08,.09
front leg .14,-.66,.12 .13,-.3,.09 .13,-.08,.09 | head .02,-1.28
"""  # noqa: E501
_TAILS = {"long": 0.06, "whip": 0.04, "saber": 0.065, "plume": 0.13, "curl": 0.12, "stub": 0.075}
# Half an outline each, the head's of radius 1 around (0, 0), y down.
_EARS = {
    "prick": [(0.22, -0.68), (0.8, -1.32), (0.86, -1.28), (0.95, -0.25), (0.55, -0.35)],
    "tuft": [(0.22, -0.68), (0.86, -1.5), (0.88, -1.5), (0.95, -0.25), (0.55, -0.35)],
    "tall": [(0.14, -0.7), (0.72, -1.58), (0.8, -1.55), (0.93, -0.25), (0.5, -0.35)],
    "bat": [(0.16, -0.68), (0.86, -1.66), (1.06, -1.56), (1.08, -0.25), (0.6, -0.3)],
    "small": [(0.3, -0.66), (0.62, -1.12), (0.78, -1.1), (0.95, -0.4), (0.6, -0.4)],
    "fold": [(0.36, -0.8), (0.74, -0.88), (1.1, -0.42), (1.04, -0.12), (0.72, -0.38)],
    "floppy": [(0.44, -0.76), (0.8, -0.7), (1.06, -0.1), (1.06, 0.4), (0.84, 0.55), (0.66, 0.2)],
    "hang": [(0.46, -0.7), (0.8, -0.64), (1.08, 0), (1.16, 0.75), (0.9, 1.02), (0.62, 0.6)],
}
_CAT = [(0, -0.84), (0.42, -0.8), (0.8, -0.5), (0.98, 0.06), (0.8, 0.5), (0.42, 0.8)]
_DOG = [(0, -0.84), (0.45, -0.78), (0.8, -0.42), (0.84, 0.1), (0.7, 0.52), (0.4, 0.78)]
_DARK, _PINK = np.array([0.1, 0.075, 0.08]), np.array([0.82, 0.55, 0.53])


@lru_cache(maxsize=1)
def _parts():
    """The rows of `_POSES` as (pose, role, points)."""
    rows = (row.split(" ", 1) for row in _POSES.split("\n")[1:-1])
    parts = ((pose, *part.split()) for pose, parts in rows for part in parts.split(" | "))
    return [
        (pose, role, np.array([p.split(",") for p in points], float))
        for pose, role, *points in parts
    ]


class Pet:
    """One animal of a breed: its own colors, a turn of the head, and parts to paint on a canvas."""

    def __init__(self, breed, pose, rng):
        self.ears, self.tail, *numbers, base, mark, light, eye, self.pattern, dark, pale, extra = (
            breed.looks
        )
        self.snout, self.girth, self.legs, self.fluff, head = map(float, numbers)
        self.dark, self.pale, self.extra = dark.split(","), pale.split(","), extra.split(",")
        self.cat, self.r, self.shift = breed.species == 1, 0.36 * head, rng.uniform(0, 512, 2)
        own = rng.normal(0, 0.015, 3) + rng.normal(
            0, 0.025
        )  # no two of a breed have quite the same coat
        colors = (
            np.clip(rgb(c) + own, 0.02, 1).astype(np.float32) for c in (base, mark, light, eye)
        )
        self.base, self.mark, self.light, self.eye = colors
        self.marking = rng.uniform(0.3, 1)  # how much the marks differ from the base
        self.turn = rng.choice([-0.5, 0.25, 0.6, 0.9]) * rng.uniform(
            0.5, 1
        )  # of the head; 1 is to the side
        self.tilt, self.asleep = rng.normal(0.03, 0.1), pose == "sleep"
        self.tongue = not self.cat and rng.random() < 0.4
        self.collar = (
            pick(rng, ["b03a3a", "3a5f9a", "d0a030", "4a7a4a"]) if rng.random() < 0.3 else None
        )
        self.parts, swing = [], rng.uniform(0.12, 0.24) * (pose == "walk")
        pose = {"walk": "stand", "bust": "front"}.get(pose, pose)
        for name, role, points in _parts():
            points = points.copy()
            if name != pose or role == (
                "tail" if self.tail == "curl" and pose == "stand" else "curl"
            ):
                continue
            if (
                pose == "stand"
            ):  # a breed's legs are longer or shorter up to the belly, and swing in a walk
                y = points[:, 1]
                points[:, 1] = np.where(y > -0.5, y * self.legs, y + 0.5 - 0.5 * self.legs)
                if role == "leg":
                    swing *= -1 if len(self.parts) % 2 else 1
                    points[:, 0] += swing * np.clip(1 + points[:, 1] / 0.6, 0, 1)
            if role == "head":
                self.head = points[0] - (0, 0.5 * (self.r - 0.36))
            elif role in ("tail", "curl"):
                points[:, 1] += (points[:, 1] - points[0, 1]) * rng.uniform(-0.3, 0.2)
                if self.tail not in ("plume", "curl"):
                    points[:, 2] = np.linspace(1, 0.6, len(points))
                points[:, 2] *= _TAILS[self.tail]
                self.parts.append(("tail", curve(points[: 2 if self.tail == "stub" else None])))
            elif role != "bib" or "bib" in self.pale:
                points[:, 2] *= np.where(points[:, 2] > 0.11, self.girth, 1)
                self.parts.append((role, curve(points)))

    def coat(self, role, start, end):
        """Color of a part, a function of x and y; its axis goes from start to end (the chin)."""
        (x0, y0), (x1, y1), (sx, sy) = (map(float, pair) for pair in (start, end, self.shift))
        dx, dy = x1 - x0, y1 - y0
        length = float(np.hypot(dx, dy)) + 1e-6

        def color(x, y):
            u = ((x - x0) * dx + (y - y0) * dy) / length  # along the axis, and to its right
            v = ((y - y0) * dx - (x - x0) * dy) / length

            def noise(fx, fy):
                return noise_tile(0, y * fy * 36 + sy, x * fx * 36 + sx)

            n = noise(2, 2)
            areas = self._areas(role, u, v, u / length, n, abs(dx) < 0.1)
            dark = self._pattern(role, u, v, u / length, noise)

            def mix(below, color, amount, names):
                amounts = [amount + 0 * n, *(areas.get(name, 0) + 0 * n for name in names)]
                return below + (color - below) * np.maximum.reduce(amounts)[..., None]

            belly = 0.3 * ramp(v, 0.05, 0.25) * (role == "body")
            coat = mix(mix(self.base, self.mark, dark, self.dark), self.light, belly, self.pale)
            return self.base + (coat - self.base) * self.marking

        return color

    def _pattern(self, role, u, v, t, noise):
        """How much of the marks' color is where, 0..1."""
        head, tail, n = role == "head", role == "tail", noise(2, 2)
        across = v / self.r if head else u  # stripes run down a head, and around everything else

        def rings():
            wave = 9 * (across if head else t) if head or tail else 26 * u
            return (
                0.85
                * ramp(np.sin(wave + n), 0, 0.5)
                * (ramp(-u / self.r, -0.2, 0.2) if head else 1)
            )

        patterns = {
            "solid": lambda: 0.08 * n,
            "ticked": lambda: 0.3 + 0.2 * np.clip(noise(12, 12), -1, 1),
            "tabby": rings,
            "spots": lambda: rings() if head or tail else 0.85 * ramp(noise(8, 11), 0.35, 0.6),
            "brindle": lambda: 0.6 * ramp(np.sin(45 * u + 4 * n) + 0.5 * noise(9, 9), 0, 1),
            "patch": lambda: ramp(noise(1.3, 1.3), 0.3, 0.4),
            "speckle": lambda: np.maximum(
                0.8 * ramp(noise(14, 14), 0.5, 1), ramp(noise(1.3, 1.3), 0.9, 1)
            ),
            "wrinkle": lambda: 0.7 * ramp(np.sin(20 * across + 2 * n), 0.7, 1),
        }
        return patterns[self.pattern]()

    def _areas(self, role, u, v, t, n, upright):
        """The areas of a part that a breed may have in the color of the marks or the light one."""
        if role == "head":
            hu, hv = u / self.r, v / self.r
            brow = np.hypot(hu + 0.36, np.abs(hv) - 0.38)
            return {
                "hood": 1,
                "face": ramp(0.85 - np.hypot(hu - 0.35, hv), 0, 0.5),
                "blaze": ramp(0.13 + 0.2 * np.maximum(hu, 0) - np.abs(hv), 0, 0.06),
                "brow": ramp(0.19 - brow, 0, 0.06),
            }
        if role == "leg":
            return {"leg": ramp(t + 0.08 * n, 0.4, 0.6), "paw": ramp(t + 0.04 * n, 0.7, 0.75)}
        if role == "tail":
            return {"tail": 1, "tip": ramp(t + 0.04 * n, 0.55, 0.65), "back": 1}
        if role in ("body", "thigh"):
            back = (np.abs(v) if upright else -v) + 0.05 * n + 0.1 * (role == "thigh")
            return {"back": ramp(back, 0.02, 0.08)}
        return {role: 1, {"paw": "leg", "ear": "hood"}.get(role): 1}

    def draw(self, canvas):
        """Paint all parts, from back to front."""
        for role, tube in self.parts:
            start, end = tube[0, :2], tube[-1, :2]
            angle = np.degrees(np.arctan2(*(end - start)[::-1])) if self.fluff < 0.5 else 70
            how = {"fluff": max(self.fluff, 0.08)}
            if role == "bib":
                how = {"depth": 0, "over": 0, "fluff": 0.5}
            grain = 0.035 + 0.06 * self.fluff
            canvas.paint(tube, self.coat(role, start, end), grain=grain, angle=angle, **how)

        # The head is turned: the end of the muzzle (mx, my) moves to the side.
        length = (0.6 if self.cat else 1.1) * self.snout
        mx = (0.28 + 0.45 * length) * self.turn
        my = 0.38 + 0.2 * length * (1 - 0.7 * abs(self.turn))
        self._draw_neck(canvas)
        erect = self.ears not in ("fold", "floppy", "hang")
        if erect:
            self._draw_ears(canvas, inside=True)
        cheek = 0.1 * self.fluff + 0.1 * (self.girth > 1.05) - 0.1 * (self.ears == "bat")
        half = [(x + cheek * (y > 0) * (x > 0.3), y) for x, y in (_CAT if self.cat else _DOG)]
        skull = loop([*half, (0, 0.86), *((-x, y) for x, y in half[:0:-1])])
        self._paint(canvas, skull, "head", depth=0.6)
        self._draw_muzzle(canvas, mx, my)
        for side in (-1, 1):
            self._draw_eye(canvas, side)
        self._draw_nose(canvas, mx, my)
        if not erect:
            self._draw_ears(canvas, over=0.4)

    def _paint(self, canvas, shape, color, **how):
        """Paint in the head's coordinates, in which its radius is 1; a `color` may name a role."""
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)

        def at(shape):
            shape = np.asarray(shape, float)
            turned = shape[:, :2] @ np.array([[cos, sin], [-sin, cos]])
            return np.concatenate([turned * self.r + self.head, shape[:, 2:] * self.r], 1)

        if isinstance(color, str):
            how = {"fluff": max(self.fluff, 0.08), "grain": 0.035 + 0.06 * self.fluff, **how}
            color = self.coat(color, *at([(0.3 * self.turn, 0), (0.3 * self.turn, 1)]))
        canvas.paint(at(shape), color, **how)

    def _ink(self, canvas, shape, color):
        """Paint a flat detail of the head."""
        self._paint(canvas, shape, color, pet=None, depth=0, over=0, grain=0)

    def _draw_neck(self, canvas):
        if self.collar is not None:
            band = curve([(-0.6, 0.72, 0.1), (-0.1, 1.0, 0.1), (0.45, 0.8, 0.1)])
            self._paint(canvas, band, self.collar)
            self._paint(canvas, oval(0, 1.14, 0.12, 0.12), rgb("d9b44a"))
        if "ruff" in self.extra:
            ruff = curve([(-0.42, 0.25, 0.85), (0, 0.62, 0.95), (0.42, 0.25, 0.85)])
            self._paint(canvas, ruff, "bib" if "bib" in self.pale else "ruff", fluff=1.3)

    def _draw_ears(self, canvas, inside=False, over=0.3):
        t, shift = self.turn, 0.06 if inside and not self.cat else 0
        for side in (-1, 1):
            turn = 0.1 * t if inside else 0.08 * t
            ear = loop([((x - shift) * side - turn, y) for x, y in _EARS[self.ears]])
            if not inside:
                self._paint(canvas, ear, "ear", over=over)
                continue
            self._paint(canvas, ear, "ear", fluff=max(0.7 * self.fluff, 0.08))
            middle = np.array([0.55 * side - 0.1 * t, -0.5])
            pink = 0.55 * _PINK + 0.3 * self.base
            self._paint(canvas, (ear - middle) * (0.55, 0.68) + middle, pink, depth=0.3, over=0)

    def _draw_muzzle(self, canvas, mx, my):
        nose, size, lobe = self._nose(my)
        if not self.cat:
            muzzle = [(0.22 * self.turn, 0.12, 0.3), (0.7 * mx, 0.8 * my, 0.36), (mx, my, 0.34)]
            self._paint(canvas, curve(muzzle), "muzzle", over=0.15)
        lips = nose + 0.8 * size
        if self.tongue:
            tongue = curve([(mx, lips + 0.2, 0.1), (mx + 0.02, lips + 0.42, 0.11)])
            self._paint(canvas, tongue, rgb("d9686c"), depth=0.4)
        sides = [(mx - 0.9 * lobe, my + 0.1, lobe), (mx + 0.9 * lobe, my + 0.1, lobe)]
        lobes = curve([sides[0], (mx, my, 0.8 * lobe), sides[1]])
        self._paint(canvas, lobes, "muzzle", depth=0.4, over=0.15)
        if "beard" in self.extra:
            low = my + 0.15
            beard = curve([(mx - 0.34, low, 0.24), (mx, my + 0.42, 0.36), (mx + 0.34, low, 0.24)])
            self._paint(canvas, beard, "muzzle", fluff=1.2, grain=0.12)
        for side in (-1, 1):
            mouth = [(0, 0, 0.02), (0.02, 0.14, 0.022), (0.14, 0.22, 0.022), (0.27, 0.17, 0.012)]
            line = curve([(mx + side * x, lips + y, r) for x, y, r in mouth])
            self._ink(canvas, line, _DARK)

    def _nose(self, my):
        """Height and size of the nose, size of the lobes beside it."""
        if self.cat:
            return my - 0.1, 0.09, 0.19
        return my - 0.2, 0.15, 0.2 + 0.06 * (self.girth > 1)

    def _draw_eye(self, canvas, side):
        x, y, r = 0.41 * side + 0.17 * self.turn, -0.07, 0.2 if self.cat else 0.15
        if self.asleep:
            lid = [(x - r, y + 0.08, 0.02), (x, y + 0.18, 0.03), (x + r, y + 0.08, 0.02)]
            self._ink(canvas, curve(lid), _DARK)
            return
        self._ink(canvas, oval(x, y, 1.17 * r, 1.12 * r), _DARK)
        self._paint(canvas, oval(x, y, 0.98 * r, 0.93 * r), self.eye, over=0, grain=0)
        pupil = oval(x + 0.02 * self.turn, y, (0.4 if self.cat else 0.62) * r, 0.76 * r)
        self._ink(canvas, pupil, _DARK / 2)
        self._ink(canvas, oval(x + 0.3 * r, y - 0.4 * r, 0.27 * r, 0.27 * r), (1, 1, 1))
        self._ink(canvas, oval(x - 0.35 * r, y + 0.4 * r, 0.13 * r, 0.13 * r), (0.8, 0.8, 0.8))
        if "brow" in self.extra:
            brow = [(x - 0.12 * side, y - 0.25, 0.1), (x + 0.2 * side, y - 0.2, 0.14)]
            self._paint(canvas, curve(brow), "brow", fluff=1.2)

    def _draw_nose(self, canvas, mx, my):
        nose, size, _ = self._nose(my)
        tip = [(mx + x * size, nose + y * size) for x, y in ((-1.1, -0.6), (1.1, -0.6), (0, 0.9))]
        color = _PINK * 0.9 if self.cat and self.base.mean() > 0.3 else _DARK * 1.3
        self._paint(canvas, loop(tip), color, over=0.1, grain=0)
        gleam = oval(mx - 0.4 * size, nose - 0.35 * size, 0.35 * size, 0.18 * size)
        self._ink(canvas, gleam, (0.75, 0.75, 0.75))
        shade = np.full(3, 0.93 if self.base.mean() < 0.7 else 0.55)
        for side, k in product((-1, 1), (-1, 0, 1)) if self.cat else ():
            hair = [(0.2, 0.05 * k, 0.012), (0.6, 0.1 * k - 0.04, 0.01), (1, 0.2 * k + 0.03, 0.005)]
            whisker = curve([(mx + side * x, my + y, r) for x, y, r in hair])
            self._ink(canvas, whisker, shade)
