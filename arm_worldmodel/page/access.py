"""Who may use the page: one browser on this machine, with the key that the terminal shows.

Three rules, each enough against most of what a browser can be made to send.  The Host must be this
machine's own name, so that no foreign name can be rebound to it; the Origin, where a browser names
one, must be the page's own; and whatever shows or moves the arm needs the key, which is in the
fragment of the page's address, so that it is never sent, logged or guessed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

NAMES = ("127.0.0.1", "localhost", "::1")
KEY_BYTES = 24
MOST_BYTES = 4096  # of a request's body
BEARER = "Bearer "


class Refused(Exception):
    """A request that is not let in: its HTTP status and the reason."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def check_request(method: str, path: str, headers: Mapping[str, str], key: str) -> None:
    """Raises ``Refused`` for a request that is not the page's own.

    headers: by their names in any case, as aiohttp gives them.
    """
    host = headers.get("Host", "")
    if _name_of(host) not in NAMES:
        raise Refused(421, f"this page is served to {', '.join(NAMES)} only")
    origin = headers.get("Origin")
    if origin is not None and origin != f"http://{host}":
        raise Refused(403, "a page of another site asked")
    if headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise Refused(403, "a page of another site asked")
    if method not in ("GET", "POST"):
        raise Refused(405, "only GET and POST are answered")
    if method == "POST" and origin is None:
        raise Refused(403, "a request that changes something names its Origin")
    if path != "/":
        given = headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"{BEARER}{key}".encode()):
            raise Refused(401, "open the page by the address that the terminal shows, key included")


def _name_of(host: str) -> str:
    """The name of a Host header, without its port; "" for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def policy_of(page: str) -> str:
    """The Content-Security-Policy of a page: its own script and style, by their hashes, nothing
    from elsewhere, and nobody may frame it."""
    kinds = {"script": "script-src", "style": "style-src"}
    rules = ["default-src 'none'", "connect-src 'self'", "img-src blob: data:", "base-uri 'none'",
             "form-action 'none'", "frame-ancestors 'none'"]
    for tag, rule in kinds.items():
        hashes = [
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S)
        ]
        rules.append(f"{rule} {' '.join(hashes) or chr(39) + 'none' + chr(39)}")
    return "; ".join(rules)
