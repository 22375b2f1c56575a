"""Plots as SVG, drawn here so that a page needs no script and a figure no page."""

import html
import math

WIDTH, HEIGHT = 460, 220
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 26, 40
# One colour a line, told apart by eyes that see fewer, in light and in dark.
STYLE = """
.plot{font:11px system-ui,sans-serif;width:100%;height:auto;max-width:560px}
.plot text{fill:var(--ink,#333)}.plot .grid{stroke:var(--line,#ddd);stroke-width:1}
.plot .line{fill:none;stroke-width:2;stroke-linejoin:round}
.plot .c0{stroke:var(--c0,#0b61a4)}.plot .c1{stroke:var(--c1,#c4570b)}
.plot .c2{stroke:var(--c2,#1d7f4f)}.plot .c3{stroke:var(--c3,#8a3fa0)}
.plot .bar,.plot .dot.c0{fill:var(--c0,#0b61a4)}.plot .dot.c1{fill:var(--c1,#c4570b)}
.plot .dot.c2{fill:var(--c2,#1d7f4f)}.plot .dot.c3{fill:var(--c3,#8a3fa0)}
"""
DARK = "@media(prefers-color-scheme:dark){.plot{--ink:#ddd;--line:#444;--c0:#6db3f2;--c1:#f0a060;" \
    "--c2:#6fcf97;--c3:#cf9be0}}"
COLOURS = 4


class Axis:
    """From values to places, by equal steps or by equal ratios."""

    def __init__(self, least, most, start, end, log=False):
        self.log, self.start, self.end = log, start, end
        if log:
            self.least = 10 ** math.floor(math.log10(least) + 1e-9)
            self.most = 10 ** math.ceil(math.log10(max(most, least * 1.0001)) - 1e-9)
            if self.most <= self.least:
                self.most = self.least * 10
        else:
            self.step = step(most - least or abs(most) or 1)
            self.least = math.floor(least / self.step) * self.step
            self.most = max(math.ceil(most / self.step) * self.step, self.least + self.step)

    def place(self, value):
        if self.log:
            value = min(max(value, self.least), self.most)
            part = math.log(value / self.least) / math.log(self.most / self.least)
        else:
            part = (value - self.least) / (self.most - self.least)
        return self.start + part * (self.end - self.start)

    def marks(self):
        if not self.log:
            count = round((self.most - self.least) / self.step)
            return [self.least + n * self.step for n in range(count + 1)]
        decades = round(math.log10(self.most / self.least))
        found = [self.least * 10**n for n in range(decades + 1)]
        if decades <= 2:
            found += [self.least * 10**n * m for n in range(decades) for m in (2, 5)]
        return sorted(found)


def step(span, marks=4):
    """A step of 1, 2 or 5 times a power of ten, for about so many marks."""
    rough = span / marks
    power = 10 ** math.floor(math.log10(rough))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)


def number(value):
    """Short: 1.5k for 1500."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9999:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"


def lines(title, series, x_title, y_title, log_x=False, log_y=False, dots=False):
    """Lines of (name, points); a point is x and y."""
    series = [(name, clean(points, log_x, log_y)) for name, points in series]
    series = [(name, points) for name, points in series if points]
    if not series:
        return nothing(title)
    xs = [x for _, points in series for x, _ in points]
    ys = [y for _, points in series for _, y in points]
    x = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, log_x)
    y = Axis(min(ys) if log_y else min(0, *ys), max(ys), HEIGHT - BOTTOM, TOP, log_y)
    parts = frame(x, y, x_title, y_title)
    for at, (name, points) in enumerate(series):
        colour = f"c{at % COLOURS}"
        places = [(x.place(a), y.place(b)) for a, b in points]
        if len(places) > 1:
            path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
            parts.append(f'<path class="line {colour}" d="{path}"/>')
        if dots or len(places) == 1:
            for (a, b), (real_x, real_y) in zip(places, points, strict=True):
                told = html.escape(f"{name}: {number(real_x)}, {number(real_y)}")
                parts.append(
                    f'<circle class="dot {colour}" cx="{a:.1f}" cy="{b:.1f}" r="3">'
                    f"<title>{told}</title></circle>"
                )
    if len(series) > 1:
        parts += legend([name for name, _ in series])
    return svg(title, parts)


def bars(title, classes, x_title, y_title, marks=()):
    """Classes of [least, most, part] on a scale of equal ratios; marks are (name, x)."""
    classes = [each for each in classes if each[1] > 0]
    if not classes:
        return nothing(title)
    x = Axis(classes[0][0], classes[-1][1], LEFT, WIDTH - RIGHT, log=True)
    y = Axis(0, max(part for _, _, part in classes) * 100, HEIGHT - BOTTOM, TOP)
    parts = frame(x, y, x_title, y_title)
    for least, most, part in classes:
        a, b = x.place(least), x.place(most)
        top = y.place(part * 100)
        told = f"{number(least)} to {number(most)}: {part:.2%}"
        parts.append(
            f'<rect class="bar" x="{a:.1f}" y="{top:.1f}" width="{max(b - a - 1, 0.5):.1f}" '
            f'height="{HEIGHT - BOTTOM - top:.1f}"><title>{told}</title></rect>'
        )
    for name, value in marks:
        if value is None or value <= 0:
            continue
        a = x.place(value)
        parts.append(
            f'<path class="line c1" stroke-dasharray="4 3" d="M{a:.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
            f'<text x="{a:.1f}" y="{TOP - 4}" text-anchor="middle">{html.escape(name)}</text>'
        )
    return svg(title, parts)


def clean(points, log_x, log_y):
    return [
        (x, y)
        for x, y in points
        if y is not None and not (log_x and x <= 0) and not (log_y and y <= 0)
    ]


def frame(x, y, x_title, y_title):
    """Grid, numbers and names of both axes."""
    parts = []
    for mark in y.marks():
        at = y.place(mark)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{number(mark)}</text>'
        )
    for mark in x.marks():
        at = x.place(mark)
        parts.append(
            f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">'
            f"{number(mark)}</text>"
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{html.escape(x_title)}</text>'
    )
    parts.append(f'<text x="4" y="12">{html.escape(y_title)}</text>')
    return parts


def legend(names):
    """Names of the lines, from the right, above the plot."""
    parts, at = [], WIDTH - RIGHT
    for number_of, name in reversed(list(enumerate(names))):
        at -= 6.2 * len(name)
        parts.append(f'<text x="{at:.0f}" y="12">{html.escape(name)}</text>')
        parts.append(
            f'<circle class="dot c{number_of % COLOURS}" cx="{at - 7:.0f}" cy="8" r="4"/>'
        )
        at -= 22
    return parts


def svg(title, parts):
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(title, quote=True)}" xmlns="http://www.w3.org/2000/svg">'
        f"<title>{html.escape(title)}</title>{''.join(parts)}</svg>"
    )


def nothing(title):
    text = f'<text x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle">nothing measured</text>'
    return svg(title, [text])


def alone(drawing):
    """As a file of its own, with its colours."""
    return drawing.replace("><title>", f"><style>{STYLE}{DARK}</style><title>", 1) + "\n"
