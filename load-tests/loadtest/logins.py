"""Whole logins, one after the other, by a few browsers as small as a login needs.

python3 -m loadtest.logins ask FILE    what to ask stands there, as JSON; prints the answers
"""

import http.client
import json
import sys
import threading
import time

from .client import Browser


class Logins:
    def __init__(self, asked):
        self.asked = asked
        self.answers, self.errors = [], {}
        self.over = threading.Event()
        self.began = time.perf_counter()

    def browse(self):
        while not self.over.is_set():
            start = time.perf_counter()
            try:
                # A browser without cookies each time, so it is sent to the provider.
                answer = Browser().open(self.asked["url"])
            except (OSError, http.client.HTTPException, SystemExit) as fault:
                kind = type(fault).__name__
                self.errors[kind] = self.errors.get(kind, 0) + 1
                continue
            took = time.perf_counter() - start
            self.answers.append((start - self.began, answer.status, took * 1e3))

    def run(self):
        browsers = [
            threading.Thread(target=self.browse) for _ in range(self.asked["connections"])
        ]
        for browser in browsers:
            browser.start()
        try:
            self.over.wait(self.asked["seconds"])
        except KeyboardInterrupt:
            pass
        self.over.set()
        for browser in browsers:
            browser.join()
        return {"answers": self.answers, "errors": self.errors}


def main():
    with open(sys.argv[2]) as file:
        asked = json.load(file)
    json.dump(Logins(asked).run(), sys.stdout)


if __name__ == "__main__":
    main()
