import contextlib
import io
import json
import os
import tempfile
import unittest

from loadtest import callers, command, deployment, jose, prepared, running, scenario
from loadtest.scenario import Fault

GOOD = {"title": "T", "about": "A", "request": [{"path": "/a"}]}


class Somebody:
    """Callers that need no key."""

    organisation = "org"

    def tokens(self, credential, count):
        return [f"t{n}" for n in range(count)] if credential == "bearer" else []

    def cookie(self):
        return "portcullis=1"

    def ids(self, count):
        return [f"id{n}" for n in range(count)]


class Shipped(unittest.TestCase):
    def test_all_of_them_are_sound_and_have_their_gateway(self):
        every = scenario.load_all()
        self.assertEqual(len(every), 13)
        for one in every.values():
            gateways = os.path.join(scenario.directory(), "gateways")
            self.assertTrue(os.path.exists(os.path.join(gateways, f"{one.gateway}.yaml")), one.name)
            self.assertTrue(one.title and one.about)

    def test_the_command_line_lists_and_chooses_them(self):
        every = scenario.load_all()
        chosen = scenario.choose(every, "bearer, session")
        self.assertEqual([one.name for one in chosen], ["session", "bearer"])
        with self.assertRaisesRegex(Fault, "no scenario barer; there are pass-through"):
            scenario.choose(every, "barer")


class Reading(unittest.TestCase):
    def refused(self, message, **changed):
        with self.assertRaisesRegex(Fault, message):
            scenario.parse("x", {**GOOD, **changed})

    def test_faults_name_file_and_key(self):
        scenario.parse("x", GOOD)
        self.refused("x.toml: title: 1 is not a text", title=1)
        self.refused("x.toml: conections: no such key", conections=3)
        self.refused("x.toml: connections: 0 is less than 1", connections=0)
        self.refused("x.toml: connections: True is not a whole number", connections=True)
        self.refused("x.toml: kind: 'strom' is none of", kind="strom")
        self.refused("x.toml: request: is empty", request=[])
        self.refused("x.toml: request 1: path: is missing", request=[{}])
        self.refused("request 1: path: has to begin with /", request=[{"path": "a"}])
        self.refused("request 1: path: {oid} is none of", request=[{"path": "/{oid}"}])
        self.refused(
            "request 1: expect: 20 is no status", request=[{"path": "/a", "expect": [20]}]
        )
        self.refused("open_at: 2.0 is not between", open_at=[2.0])
        self.refused("direct: needs open_at", direct=True)
        self.refused("counted: needs counter", counted={"miss": [1, 1]})
        self.refused("counted.miss: .* is not", counter="c", counted={"miss": [2, 1]})
        self.refused("kind login asks in one way", kind="login", request=GOOD["request"] * 2)
        self.refused("open_at: oha sends", open_at=[0.5], request=GOOD["request"] * 2)

    def test_a_folder_without_scenarios_is_a_fault(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(Fault, "has no scenarios"):
                scenario.load_all(folder)
            with open(os.path.join(folder, "a.toml"), "w") as file:
                file.write("title = ")
            with self.assertRaisesRegex(Fault, "a.toml: "):
                scenario.load_all(folder)


class Prepared(unittest.TestCase):
    def prepared(self, *requests):
        one = scenario.parse("x", {**GOOD, "request": list(requests)})
        return prepared.prepare(one, Somebody())

    def test_places_are_filled_in(self):
        everything, order, _ = self.prepared(
            {"path": "/a/{id}?o={organisation}", "credential": "bearer", "ids": 3, "callers": 2}
        )
        self.assertEqual([one.path for one in everything], [f"/a/id{n}?o=org" for n in range(3)])
        self.assertEqual(everything[2].headers, {"Authorization": "Bearer t0"})
        self.assertEqual(order, [0, 1, 2])

    def test_a_token_in_the_body_stands_nowhere_else(self):
        everything, _, _ = self.prepared(
            {"path": "/t", "method": "POST", "credential": "bearer", "body": "t={token}"}
        )
        self.assertEqual(
            everything[0].raw("h:1"),
            b"POST /t HTTP/1.1\r\nHost: h:1\r\nContent-Length: 4\r\n\r\nt=t0",
        )

    def test_a_session_is_a_cookie(self):
        everything, _, _ = self.prepared({"path": "/s", "credential": "session"})
        self.assertIn(b"\r\nCookie: portcullis=1\r\n", everything[0].raw("h"))

    def test_turns_keep_the_weights_and_leave_nobody_out(self):
        everything, order, kinds = self.prepared(
            {"path": "/many", "credential": "bearer", "callers": 10, "weight": 3},
            {"path": "/one", "weight": 1},
        )
        self.assertEqual((len(everything), len(kinds)), (11, 2))
        many = [turn for turn in order if turn < 10]
        self.assertEqual(len(many), 3 * (len(order) - len(many)))
        self.assertEqual(set(order), set(range(11)))
        self.assertNotEqual(order, sorted(order))


class Deployments(unittest.TestCase):
    def who(self, **given):
        return deployment.Deployment("http://h", callers.Callers("org", **given))

    def test_what_cannot_be_asked_is_refused_with_its_reason(self):
        every = scenario.load_all()
        nobody = self.who()
        self.assertIsNone(nobody.refusal(every["pass-through"]))
        for name, reason in (
            ("bearer", "needs tokens"), ("session", "needs a session"),
            ("refusals", "needs a caller without"), ("storm", "never seen before"),
            ("login", "on loopback alone"), ("websocket", "on loopback alone"),
        ):
            self.assertIn(reason, nobody.refusal(every[name]), name)
        self.assertIn("--ids", self.who(tokens=["a"]).refusal(every["lookups"]))
        self.assertIsNone(self.who(tokens=["a"]).refusal(every["bearer"]))

    def test_mixtures_have_no_fixed_rate(self):
        every = scenario.load_all()
        self.assertIsNone(running.open_loop_refusal(every["bearer"]))
        self.assertIn("no fixed rate", running.open_loop_refusal(every["mixed"]))
        self.assertIn("no fixed rate", running.open_loop_refusal(every["bearer-tokens"]))
        self.assertIn("storm", running.open_loop_refusal(every["storm"]))

    def test_an_origin_is_one(self):
        self.assertEqual(deployment.origin_of("h:1", "--target"), "http://h:1")
        self.assertEqual(deployment.origin_of("https://h/", "--target"), "https://h")
        for wrong in ("ftp://h", "http://h/path", "http://h:x", "http://u@h", "http://"):
            with self.assertRaises(Fault, msg=wrong):
                deployment.origin_of(wrong, "--target")


class Minting(unittest.TestCase):
    def test_tokens_are_those_of_the_claims(self):
        with tempfile.TemporaryDirectory() as folder:
            for algorithm in ("EdDSA", "ES256", "RS256"):
                key, claims = os.path.join(folder, algorithm), os.path.join(folder, "claims")
                jose.Key(algorithm, key)
                with open(claims, "w") as file:
                    json.dump({"iss": "i", "aud": "a", "roles": ["r"]}, file)
                mint = callers.Mint.of_options(key, "kid", claims)
                who = callers.Callers("org", mint)
                self.assertEqual(mint.key.jwk()["alg"], algorithm)
                self.assertEqual(len(set(who.tokens("bearer", 20))), 20)
                self.assertEqual(who.tokens("bearer", 2), who.tokens("bearer", 20)[:2])
                self.assertNotIn(who.stranger(), who.tokens("bearer", 20))
                self.assertGreater(callers.expiry(who.stranger()), 0)

    def test_claims_without_an_issuer_are_a_fault(self):
        with tempfile.TemporaryDirectory() as folder:
            key, claims = os.path.join(folder, "k"), os.path.join(folder, "claims")
            jose.Key("EdDSA", key)
            with open(claims, "w") as file:
                file.write('{"aud": "a"}')
            with self.assertRaisesRegex(Fault, "a token needs iss"):
                callers.Mint.of_options(key, "kid", claims)


class CommandLine(unittest.TestCase):
    def refused(self, message, *words):
        with self.assertRaisesRegex(Fault, message):
            command.check(command.parser().parse_args(words))

    def test_what_belongs_together(self):
        self.refused("--tokens is for a deployment", "--tokens", "f")
        self.refused("belong together", "--target", "h", "--mint", "k")
        self.refused("exclude", "--target", "h", "--mint", "k", "--claims", "c", "--tokens", "t")
        command.check(command.parser().parse_args(["--target", "h:1", "--tokens", "-"]))

    def test_a_fault_ends_with_2(self):
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(command.main(["--only", "nothing-like-it"]), 2)
        self.assertIn("there are pass-through, session", said.getvalue())

    def test_steps_of_a_ramp_begin_and_end_as_asked(self):
        steps = running.steps(100, 800)
        self.assertEqual((steps[0], steps[-1], len(steps)), (100, 800, running.STEPS))


if __name__ == "__main__":
    unittest.main()
