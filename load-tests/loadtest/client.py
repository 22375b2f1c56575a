"""A browser as small as a login needs: cookies, redirects, nothing else."""

import http.client
import ssl
import urllib.parse

REDIRECTS = 10


class Trust:
    """Which certificates are believed: the system's authorities, unless told otherwise."""

    context = None

    @classmethod
    def everybody(cls):
        cls.context = ssl.create_default_context()
        cls.context.check_hostname = False
        cls.context.verify_mode = ssl.CERT_NONE


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


def request(url, headers=None, method="GET", body=None):
    """One request, with no redirect followed."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=10, context=Trust.context
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        connection.request(method, target, body=body or None, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


class Browser:
    """Keeps cookies by origin; their paths and attributes do not matter here."""

    def __init__(self):
        self.cookies = {}

    def open(self, url):
        """Navigates, and follows redirects to the end."""
        for _ in range(REDIRECTS):
            answer = request(url, self._headers(url))
            self._keep(url, answer)
            if answer.status not in (301, 302, 303, 307):
                return answer
            url = urllib.parse.urljoin(url, answer.headers["Location"])
        raise SystemExit(f"too many redirects, the last to {url}")

    def cookie_header(self, url):
        """What a browser sends in `Cookie` to this origin."""
        jar = self.cookies.get(_origin(url), {})
        return "; ".join(f"{name}={value}" for name, value in jar.items())

    def _headers(self, url):
        headers = {
            "Accept": "text/html,application/xhtml+xml",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
        }
        if cookies := self.cookie_header(url):
            headers["Cookie"] = cookies
        return headers

    def _keep(self, url, answer):
        jar = self.cookies.setdefault(_origin(url), {})
        for line in answer.headers.get_all("Set-Cookie") or []:
            pair, _, attributes = line.partition(";")
            name, _, value = pair.strip().partition("=")
            gone = not value or "max-age=0" in attributes.lower().replace(" ", "")
            gone = gone or "01 jan 1970" in attributes.lower().replace("-", " ")
            if gone:
                jar.pop(name, None)
            else:
                jar[name] = value


def _origin(url):
    return urllib.parse.urlsplit(url)[:2]
