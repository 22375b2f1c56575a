"""Interleaved rounds, and what their ratios say.

A machine has better and worse minutes. So every mode is measured once in each round, in another
order each time, and two modes are compared by the ratio that they had in the same round.
"""

import statistics


def order(names, number):
    """The order of one round: turned by one each time, and every second time backwards."""
    at = number % len(names)
    turned = [*names[at:], *names[:at]]
    return turned[::-1] if number % 2 else turned


def ratios(rounds, one, other, figure):
    """`figure` of `one` by that of `other`, for each round that has both."""
    both = (r for r in rounds if figure in r.get(one, {}) and figure in r.get(other, {}))
    return [r[one][figure] / r[other][figure] for r in both if r[other][figure]]


def values(rounds, name, figure):
    return [r[name][figure] for r in rounds if figure in r.get(name, {})]


def spread(numbers, digits=2):
    """The median with the least and the greatest."""
    if not numbers:
        return "-"
    middle, least, most = statistics.median(numbers), min(numbers), max(numbers)
    return f"{middle:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def table(head, rows):
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
