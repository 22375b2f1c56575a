import unittest

from loadtest import scale, scale_command
from loadtest.scenario import Fault


def growth(costs, name="routes", unit="routes"):
    points = []
    for size, cost in costs.items():
        each = {"cpu_us": cost, "per_second": 1e6 / cost, "p50_ms": 1.0, "p99_ms": 2.0}
        points.append(scale.Point(size, None, "", "", memory={"gateway": 40.0}, done=[each] * 3))
    return scale_command.summary(scale.Growth(name, "Routes", unit, points))


class Slope(unittest.TestCase):
    def slope(self, *rounds, unit="routes"):
        points = [
            {"size": size, "rounds": [{"cpu_us": cost(size)} for cost in rounds]}
            for size in (10, 100, 10_000)
        ]
        return scale_command.slope(points, unit)

    def test_it_is_told_for_so_many_that_it_is_read(self):
        found = self.slope(lambda size: 10 + 2 * size)
        self.assertEqual(found[0], "slope: CPU of a request for 1 more routes")
        self.assertAlmostEqual(found[1], 2.0)
        found = self.slope(lambda size: 10 + size / 1e4)
        self.assertIn("for 1,000 more routes", found[0])
        self.assertAlmostEqual(found[1], 0.1)

    def test_rounds_that_disagree_of_its_sign_are_noise(self):
        found = self.slope(lambda s: 9 + s / 1e3, lambda s: 9 - s / 1e3, lambda s: 9 + s / 1e3)
        self.assertIn("within noise", found[2])
        found = self.slope(lambda s: 9 + s / 1e3, lambda s: 9 + s / 1e2)
        self.assertNotIn("within noise", found[2])


class Report(unittest.TestCase):
    ABOUT = {
        "machine": {
            "date": "2026-12-01", "processor": "P", "cores": 2, "kernel": "6", "load_before": 1.0,
        },
        "command": "load-tests/scale", "rounds": 3, "seconds": 2,
    }

    def test_sizes_are_compared_with_the_least(self):
        text = scale_command.markdown([growth({10: 20.0, 10_000: 30.0})], self.ABOUT)
        self.assertIn("| 10,000 | 30.0 (30.0 to 30.0) | 1.50 (1.50 to 1.50) |", text)

    def test_the_page_has_a_plot_for_each(self):
        page = scale_command.html_page([growth({10: 20.0, 10_000: 30.0})] * 2, self.ABOUT)
        self.assertEqual(page.count("<svg"), 2)
        self.assertEqual(page.count("<circle"), 4)


class Chosen(unittest.TestCase):
    def test_an_unknown_growth_is_named(self):
        self.assertEqual(scale_command.chosen("tokens, routes"), ["tokens", "routes"])
        with self.assertRaisesRegex(Fault, "no growth route; there are routes"):
            scale_command.chosen("route")


if __name__ == "__main__":
    unittest.main()
