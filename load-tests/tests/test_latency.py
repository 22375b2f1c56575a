import unittest

from loadtest import latency


class Latency(unittest.TestCase):
    def test_a_fraction_is_a_value_that_was_measured(self):
        points = latency.of_values(range(1, 1001))
        self.assertEqual(
            latency.shown(points), {"p50": 500, "p90": 900, "p99": 990, "p99.9": 999, "max": 1000}
        )

    def test_one_slow_request_of_a_hundred_is_in_p99_9_and_not_in_p99(self):
        points = latency.of_values([1.0] * 99 + [50.0])
        self.assertEqual(latency.at(points, 0.99), 1.0)
        self.assertEqual(latency.at(points, 0.999), 50.0)

    def test_nothing_measured_has_no_times(self):
        self.assertEqual(latency.of_values([]), [])
        self.assertIsNone(latency.shown([])["p99"])

    def test_below_reads_the_points_the_other_way_round(self):
        points = latency.of_values(range(1, 101))
        for value in (1, 25, 50, 99):
            self.assertAlmostEqual(latency.below(points, value), value / 100, delta=0.011)
        self.assertEqual(latency.below(points, 0.5), 0.0)
        self.assertEqual(latency.below(points, 1000), 1.0)

    def test_a_histogram_has_every_request_once(self):
        few, many = latency.of_values([1.0] * 10), latency.of_values([100.0] * 30)
        classes = latency.histogram([(few, 10), (many, 30)])
        self.assertAlmostEqual(sum(part for _, _, part in classes), 1.0)
        at = {part: (least, most) for least, most, part in classes if part > 0.01}
        self.assertEqual(sorted(round(part, 2) for part in at), [0.25, 0.75])
        for (least, most), value in zip((at[p] for p in sorted(at)), (1.0, 100.0), strict=True):
            self.assertLessEqual(least, value * 1.000001)
            self.assertGreaterEqual(most, value)

    def test_rounds_are_pooled_by_their_requests(self):
        few, many = latency.of_values([1.0] * 10), latency.of_values([100.0] * 990)
        points = latency.pooled([(few, 10), (many, 990)])
        self.assertEqual(latency.at(points, 0.0), 1.0)
        self.assertEqual(latency.at(points, 0.5), 100.0)
        self.assertEqual(latency.pooled([]), [])


if __name__ == "__main__":
    unittest.main()
