"""Times of answers: what a generator measured, at fixed fractions, and what is shown of it."""

import bisect
import math

# Every hundredth, then finer where few requests are slow. 0 is the least, 1 the greatest.
GRID = tuple(
    [n / 100 for n in range(100)]
    + [0.99 + n / 1000 for n in range(1, 10)]
    + [0.999 + n / 10000 for n in range(1, 10)]
    + [1.0]
)
SHOWN = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def of_values(values):
    """Pairs of fraction and value; the value is one that was measured (nearest rank)."""
    ordered = sorted(values)
    if not ordered:
        return []
    last = len(ordered) - 1
    return [
        [fraction, ordered[min(last, max(0, math.ceil(fraction * len(ordered)) - 1))]]
        for fraction in GRID
    ]


def at(points, fraction):
    """The value at a fraction, on the line between the points beside it."""
    if not points:
        return None
    where = bisect.bisect_left(points, [fraction])
    if where == 0:
        return points[0][1]
    if where == len(points):
        return points[-1][1]
    (low, before), (high, after) = points[where - 1], points[where]
    return before + (after - before) * (fraction - low) / (high - low)


def shown(points):
    return {name: at(points, fraction) for name, fraction in SHOWN.items()}


def below(points, value):
    """The fraction of requests that took at most `value`."""
    if not points or value < points[0][1]:
        return 0.0
    if value >= points[-1][1]:
        return 1.0
    where = bisect.bisect_right([v for _, v in points], value)
    (low, before), (high, after) = points[where - 1], points[where]
    if after == before:
        return high
    return low + (high - low) * (value - before) / (after - before)


def pooled(weighted):
    """The points of all requests together; `weighted` has pairs of points and their number."""
    weighted = [(points, count) for points, count in weighted if points and count]
    total = sum(count for _, count in weighted)
    values = sorted({value for points, _ in weighted for _, value in points})
    if not values:
        return []
    # The fraction below each value that was measured is known; read the other way round.
    known = [sum(below(p, value) * n for p, n in weighted) / total for value in values]
    found = []
    for fraction in GRID:
        where = min(bisect.bisect_left(known, fraction - 1e-12), len(values) - 1)
        found.append([fraction, values[where]])
    return found


def histogram(weighted, per_decade=10):
    """Parts of all requests in classes of equal ratio, over several rounds.

    `weighted` has pairs of points and their number of requests. The answer has
    [least, most, part] for each class from the first to the last that is not empty.
    """
    weighted = [(points, count) for points, count in weighted if points and count]
    total = sum(count for _, count in weighted)
    if not total:
        return []
    least = max(min(points[0][1] for points, _ in weighted), 1e-3)
    most = max(points[-1][1] for points, _ in weighted)
    first = math.floor(math.log10(least) * per_decade)
    last = max(first + 1, math.ceil(math.log10(max(most, least)) * per_decade + 1e-9))
    classes = []
    before = 0.0
    for number in range(first, last):
        low, high = (10 ** (n / per_decade) for n in (number, number + 1))
        until = sum(below(points, high) * count for points, count in weighted) / total
        if number == last - 1:
            until = 1.0
        classes.append([low, high, max(0.0, until - before)])
        before = until
    return classes
