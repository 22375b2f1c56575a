import copy
import html.parser
import re
import unittest

from loadtest import comparison, latency, page, plot, report, running, scenario


def result(per_second=1000.0, p99=2.0, cpu=50.0):
    points = latency.of_values([1.0] * 98 + [p99] * 2)
    return {
        "requests": 100, "seconds": 1.0, "per_second": per_second,
        "shown": latency.shown(points), "latency": points,
        "statuses": {"200": 100}, "errors": {}, "unexpected": 0, "faults": [],
        "rate": [[0.0, 900.0], [0.2, 1100.0]], "p99_line": [],
        "cpu_us": {"gateway": cpu, "generator": 10.0},
        "cpu_line": {"gateway": [[0.2, 0.9], [0.4, 1.0]]},
        "memory_mib": {"gateway": 60.0}, "counted": {"hit": 100}, "command": "wrk <url>",
    }


def made(*rounds, name="bearer"):
    one = scenario.load_all()[name]
    entry = running.Entry(one, "closed")
    entry.done = list(rounds)
    about = {
        "machine": {
            "date": "2026-12-01", "processor": "P & Q", "cores": 2, "memory_mib": 2048,
            "kernel": "6", "load_before": 0.5,
        },
        "versions": {"wrk": "4.1.0"}, "command": "load-tests/run --only bearer",
        "target": "loopback", "pace": {"rounds": 3, "seconds": 3}, "threads": 1,
        "stopped": False,
    }
    return report.document([entry], [("login", "on loopback alone")], about)


class Page(unittest.TestCase):
    def test_it_needs_nothing_from_outside(self):
        text = page.page(made(result(), result(1200.0)))
        self.assertNotIn("<script", text)
        outside = re.findall(r"(?:src|href|url)\s*[=(]\s*['\"]?(https?:[^'\")]*)", text)
        self.assertEqual(outside, [])
        self.assertIn("P &amp; Q", text)
        self.assertIn("wrk &lt;url&gt;", text)
        html.parser.HTMLParser().feed(text)

    def test_each_scenario_has_its_plots(self):
        text = page.page(made(result()))
        self.assertEqual(text.count("<svg"), 3)
        self.assertIn("bearer: latency", text)

    def test_a_round_without_an_answer_is_shown_all_the_same(self):
        empty = {**result(), "requests": 0, "per_second": 0.0, "latency": [], "rate": [],
                 "shown": latency.shown([]), "faults": ["nothing was answered"]}
        text = page.page(made(empty))
        self.assertIn("nothing measured", text)
        self.assertIn("nothing was answered", text)


class Markdown(unittest.TestCase):
    def test_medians_and_what_was_refused(self):
        text = report.markdown(made(result(1000.0), result(3000.0), result(2000.0)))
        self.assertIn("| bearer | 2,000 | 1.00 |", text)
        self.assertIn("- not run: login, on loopback alone", text)

    def test_what_was_unexpected_is_told(self):
        bad = {**result(), "faults": ["3 of 100 not answered as expected"], "unexpected": 3}
        text = report.markdown(made(result(), bad))
        self.assertIn("- bearer, round 2: 3 of 100 not answered as expected", text)

    def test_what_the_gateway_adds_is_of_the_same_round(self):
        one = scenario.load_all()["bearer"]
        through = running.Entry(one, "open", part=0.5)
        past = running.Entry(one, "direct", part=0.5)
        through.done, past.done = [result(p99=3.0), result(p99=9.0)], [result(p99=2.5)]
        found = report.added([through, past])
        self.assertEqual(found[0]["p99_ms"], [0.5])


class Turns(unittest.TestCase):
    def test_a_scenario_stays_together_and_its_closed_loop_is_first(self):
        every = scenario.load_all()
        chosen = [every[name] for name in ("session", "bearer", "refusals")]
        entries = running.entries(chosen, running.Pace(), has_direct=True)
        orders = [[e.name for e in running.turn(entries, number)] for number in range(4)]
        self.assertEqual(len({tuple(order) for order in orders}), 4)
        for order in orders:
            self.assertEqual(sorted(order), sorted(e.name for e in entries))
            at = order.index("bearer")
            self.assertEqual(
                set(order[at + 1 : at + 3]), {"bearer at 50%", "bearer at 50% direct"}
            )


class Bounds(unittest.TestCase):
    def faults(self, counted):
        storm = scenario.load_all()["storm"]
        measured = running.wrk.measured.of_answers([(0.0, 200, 1.0)], 1.0)
        return running.faults(storm, measured, counted, 0, "closed")

    def test_a_second_exchange_of_a_storm_is_a_fault(self):
        self.assertEqual(self.faults({"miss": 1, "coalesced": 9}), [])
        self.assertEqual(
            self.faults({"miss": 2}), ["portcullis_app_tokens_total miss: 2, not 1 to 1"]
        )


    def test_a_rate_that_is_not_carried_is_a_result(self):
        bearer = scenario.load_all()["bearer"]
        late = {running.oha.LATE: 5}
        measured = running.wrk.measured.of_answers([(0.0, 200, 1.0)], 1.0, late)
        self.assertEqual(running.faults(bearer, measured, {}, 5, "open"), [])
        self.assertEqual(
            running.faults(bearer, measured, {}, 6, "open"), ["1 of 1 not answered as expected"]
        )


class Comparison(unittest.TestCase):
    def test_rounds_that_overlap_are_noise(self):
        said = comparison.verdict([100, 110, 105], [104, 112, 109], True)
        self.assertIn("within noise", said)

    def test_a_change_beyond_the_rounds_is_told(self):
        before = [100, 102, 101, 99, 100]
        self.assertIn("**worse**", comparison.verdict(before, [80, 81, 79, 80, 82], True))
        self.assertIn("better", comparison.verdict(before, [80, 81, 79, 80, 82], False))
        self.assertTrue(comparison.verdict(before, [80, 81, 79, 80, 82], True).startswith("0.80"))

    def test_two_rounds_say_nothing(self):
        self.assertIn("too few rounds", comparison.verdict([1, 1], [9, 9], True))

    def test_a_report_beside_itself_is_within_noise(self):
        one = made(result(1000.0), result(1100.0), result(1050.0))
        text = comparison.compare(one, copy.deepcopy(one))
        self.assertEqual(text.count("within noise"), 4)
        self.assertNotIn("Not the same", text)

    def test_what_makes_them_hard_to_compare_is_named(self):
        one, other = made(result()), made(result(), name="session")
        other["machine"]["processor"] = "R"
        other["versions"]["wrk"] = "5"
        text = comparison.compare(one, other)
        self.assertIn("processor P & Q and R; wrk 4.1.0 and 5", text)
        self.assertIn("No scenario stands in both.", text)
        self.assertIn("- only in A: bearer", text)


class Plots(unittest.TestCase):
    def test_axes_have_round_numbers(self):
        self.assertEqual(plot.Axis(0, 970, 0, 100).marks(), [0, 500, 1000])
        self.assertEqual(plot.Axis(3, 2000, 0, 100, log=True).marks(), [1, 10, 100, 1000, 10000])
        self.assertEqual([plot.number(v) for v in (0.25, 1500, 2e6)], ["0.25", "1.5k", "2M"])

    def test_points_lie_within_the_frame(self):
        drawn = plot.lines("t", [("a", [(1, 5), (10, 50), (100, 0)])], "x", "y", log_x=True)
        for x, y in re.findall(r"(\d+\.\d) (\d+\.\d)", drawn):
            self.assertTrue(0 <= float(x) <= plot.WIDTH and 0 <= float(y) <= plot.HEIGHT)

    def test_a_file_of_its_own_has_its_colours(self):
        self.assertIn("<style>", plot.alone(plot.lines("t", [("a", [(0, 1)])], "x", "y")))


if __name__ == "__main__":
    unittest.main()
