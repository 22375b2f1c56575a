"""What one round of one scenario said, the same whichever generator asked."""

import dataclasses

from . import latency


@dataclasses.dataclass
class Measured:
    requests: int
    seconds: float
    # Times of answers in milliseconds, at the fractions of `latency.GRID`.
    latency: list
    # Answers by status.
    statuses: dict
    # What was no answer, by kind.
    errors: dict
    # Pairs of second and answers in the time until the next, in a second.
    rate: list
    # Pairs of second and the time that 99 % took less than, where each answer is known.
    p99_line: list = dataclasses.field(default_factory=list)
    command: str = ""
    # CPU of the generator's own process, in seconds.
    generator_cpu: float = 0.0

    @property
    def per_second(self):
        return self.requests / self.seconds if self.seconds else 0.0

    def unexpected(self, expected):
        """Answers that are not what the scenario expects, and what was no answer."""
        wrong = sum(count for status, count in self.statuses.items() if status not in expected)
        return wrong + sum(self.errors.values())


def of_answers(answers, seconds, errors=None, width=0.25):
    """Of every single answer: (second of its start, status, milliseconds)."""
    statuses, slots = {}, {}
    for start, status, took in answers:
        statuses[status] = statuses.get(status, 0) + 1
        # A rate is that of answers, so they count when they came.
        slots.setdefault(int((start + took / 1e3) / width), []).append(took)
    rate = [[n * width, len(slots.get(n, ())) / width] for n in whole(slots, seconds, width)]
    line = [[n * width, latency.at(latency.of_values(slots[n]), 0.99)] for n in sorted(slots)]
    return Measured(
        requests=len(answers),
        seconds=seconds,
        latency=latency.of_values([took for _, _, took in answers]),
        statuses=statuses,
        errors=errors or {},
        rate=rate,
        p99_line=line,
    )


def of_counts(counts, seconds, width):
    """A line of rates of counts by the number of their slot."""
    return [[n * width, counts.get(n, 0) / width] for n in whole(counts, seconds, width)]


def whole(slots, seconds, width):
    """The slots that the round filled; the last is cut short and would look like a fall."""
    last = max(slots, default=0)
    return range(min(last, int(seconds / width) or 1) or 1)
