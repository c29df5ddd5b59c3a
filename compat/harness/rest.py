"""Calls of HTTP interfaces that speak JSON."""

import json
import urllib.error
import urllib.request


class Refused(Exception):
    """An answer with another status than 2xx; `code` and `text` are what it said."""

    def __init__(self, code, text, what):
        super().__init__(f"{what}: {code} {text[:500]}")
        self.code, self.text = code, text


def call(method, url, body=None, content_type="application/json", seconds=30, **headers):
    """The answer's body: from JSON, or as text where it is none."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Accept": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if data is not None:
        fields["Content-Type"] = content_type
    request = urllib.request.Request(url, data, fields, method=method)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        raise Refused(error.code, error.read().decode(errors="replace"), f"{method} {url}") from None
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
