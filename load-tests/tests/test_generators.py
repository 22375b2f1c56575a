"""What the generators write, as they wrote it."""

import io
import unittest

from loadtest import generator, h2load, latency, measured, metrics, oha, wrk


class Wrk(unittest.TestCase):
    def read(self, **changed):
        values = {
            "requests": 300, "seconds": 0.6, "bytes": 1000,
            "statuses": {"200": 290, "503": 10},
            "tenths": {"0": 100, "1": 50, "2": 100, "3": 20, "4": 30},
            "errors": {"connect": 0, "read": 2, "write": 0, "timeout": 0},
            "latency": [[0.0, 0.5], [0.5, 1.0], [1.0, 9.0]],
        }
        return wrk.read({**values, **changed})

    def test_statuses_and_errors(self):
        found = self.read()
        self.assertEqual(found.statuses, {200: 290, 503: 10})
        self.assertEqual(found.errors, {"read": 2})
        self.assertEqual(found.per_second, 500)
        self.assertEqual(found.unexpected([200]), 12)
        self.assertEqual(found.unexpected([200, 503]), 2)

    def test_the_line_leaves_out_the_slot_that_is_cut_short(self):
        self.assertEqual(self.read().rate, [[0.0, 750.0], [0.2, 600.0]])

    def test_what_wrk_prints_is_read_for_the_peers(self):
        text = """Running 1s test @ http://127.0.0.1:1/
  Latency Distribution
     50%    1.90ms
     75%    2.30ms
     99%    0.90s
  4242 requests in 1.00s, 1.20MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5
Requests/sec:   4242.42
"""
        load = wrk.Load(text)
        self.assertEqual((load.requests, load.per_second, load.failed), (4242, 4242.42, 15))
        self.assertAlmostEqual(load.p50, 0.0019)
        self.assertAlmostEqual(load.p99, 0.9)


class H2load(unittest.TestCase):
    LOG = "1700000000000000\t200\t1500\n1700000000500000\t503\t2500\n1700000000600000\t-1\t100\n"
    SUMMARY = (
        "requests: 5 total, 4 started, 3 done, 1 succeeded, 3 failed, 2 errored, 1 timeout\n"
    )

    def test_a_status_is_an_answer_and_the_rest_is_told_apart(self):
        found = h2load.read(self.SUMMARY, io.StringIO(self.LOG))
        self.assertEqual(found.statuses, {200: 1, 503: 1})
        self.assertEqual(found.errors, {"unanswered": 1, "not started": 1, "timeout": 1})
        self.assertEqual(found.latency[-1], [1.0, 2.5])
        self.assertAlmostEqual(found.seconds, 0.6001)

    def test_without_a_summary_the_log_counts(self):
        found = h2load.read("", io.StringIO(self.LOG))
        self.assertEqual(found.errors, {"unanswered": 1})


class Oha(unittest.TestCase):
    HEAD = "request-start,DNS,DNS+dialup,Response-delay,request-duration,bytes,status\n"

    def test_a_time_counts_from_when_a_request_was_due(self):
        # The second was due at 0.2 s, sent at 0.4 s and answered at 0.45 s.
        rows = "0.10,0,0,0.002,0.002,999,200\n0.40,0,0,0.050,0.250,999,502\n"
        found = oha.read(io.StringIO(self.HEAD + rows))
        self.assertEqual(found.statuses, {200: 1, 502: 1})
        self.assertEqual(latency.shown(found.latency)["max"], 250.0)
        self.assertAlmostEqual(found.seconds, 0.45)
        self.assertEqual([at for at, _ in found.p99_line], [0.0, 0.25])

    def test_an_empty_table_is_no_answer(self):
        self.assertEqual(oha.read(io.StringIO(self.HEAD)).requests, 0)


class Answers(unittest.TestCase):
    def test_an_answer_counts_when_it_came(self):
        answers = [(0.0, 200, 1.0), (0.1, 200, 300.0), (0.3, 200, 1.0), (0.6, 200, 1.0)]
        found = measured.of_answers(answers, 0.75)
        self.assertEqual(found.rate, [[0.0, 4.0], [0.25, 8.0]])
        self.assertEqual(dict(map(tuple, found.p99_line))[0.25], 300.0)


class Commands(unittest.TestCase):
    def test_a_report_shows_no_credential(self):
        shown = generator.shown(["oha", "-H", "Authorization: Bearer ey.J", "-H", "Cookie: a=b"])
        self.assertEqual(shown, "oha -H 'Authorization: …' -H 'Cookie: …'")

    def test_a_generator_that_is_missing_is_named(self):
        with self.assertRaisesRegex(generator.Fault, "no-such-generator is missing"):
            generator.run(["no-such-generator"], 1)

    def test_a_generator_that_fails_is_quoted(self):
        with self.assertRaisesRegex(generator.Fault, r"sh failed \(3\): no such host"):
            generator.run(["sh", "-c", "echo no such host >&2; exit 3"], 1)


class Metrics(unittest.TestCase):
    TEXT = """# HELP x_total Things.
# TYPE x_total counter
x_total{outcome="hit"} 7
x_total{outcome="miss",kind="a b"} 1e3
process_cpu_seconds_total 1.5
"""

    def test_values_by_labels(self):
        found = metrics.parse(self.TEXT)
        self.assertEqual(found["process_cpu_seconds_total"], {(): 1.5})
        self.assertEqual(found["x_total"][(("outcome", "hit"),)], 7)
        self.assertEqual(found["x_total"][(("kind", "a b"), ("outcome", "miss"))], 1000)

    def test_what_did_not_grow_is_left_out(self):
        found = metrics.grown({"a": 1, "b": 2}, {"a": 1, "b": 5, "c": 1})
        self.assertEqual(found, {"b": 3, "c": 1})


if __name__ == "__main__":
    unittest.main()
