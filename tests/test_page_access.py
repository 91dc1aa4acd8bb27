"""Who is let in to the operator's page, and what the page itself may load."""

import re

import pytest

from arm_worldmodel.page.access import Refused, check_request, policy_of
from arm_worldmodel.page.server import PAGE

KEY = "k" * 32
OURS = {"Host": "127.0.0.1:8460", "Authorization": f"Bearer {KEY}"}
MOVES = {**OURS, "Origin": "http://127.0.0.1:8460", "Sec-Fetch-Site": "same-origin"}


def status(method, path, headers):
    try:
        check_request(method, path, headers, KEY)
    except Refused as refused:
        return refused.status if str(refused) and KEY not in str(refused) else None
    return 200


@pytest.mark.parametrize("host", ["127.0.0.1:8460", "localhost:9000", "LOCALHOST", "[::1]:8460"])
def test_the_page_is_let_in_by_every_name_of_this_machine(host):
    assert status("GET", "/", {"Host": host}) == 200
    ours = {**MOVES, "Host": host, "Origin": f"http://{host}"}
    assert status("GET", "/api/state", ours) == 200
    assert status("POST", "/api/move", ours) == 200


@pytest.mark.parametrize(
    "host", ["", "lab.example:8460", "127.0.0.1.lab.example", "127.0.0.2:8460", "localhost.:8460",
             "[::1", "a@127.0.0.1@b", "192.168.0.7:8460"],
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(host):
    for method, path in (("GET", "/"), ("GET", "/api/state"), ("POST", "/api/stop")):
        assert status(method, path, {**MOVES, "Host": host, "Origin": f"http://{host}"}) == 421


@pytest.mark.parametrize(
    "origin", ["http://lab.example", "http://127.0.0.1:8461", "https://127.0.0.1:8460", "null",
               "http://localhost:8460", "", "http://127.0.0.1:8460/"],
)
def test_a_page_of_another_origin_is_refused_even_with_the_key(origin):
    for method, path in (("GET", "/api/picture"), ("POST", "/api/move"), ("POST", "/api/stop")):
        assert status(method, path, {**MOVES, "Origin": origin}) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "else"])
def test_what_the_browser_calls_foreign_is_refused(site):
    assert status("GET", "/api/picture", {**OURS, "Sec-Fetch-Site": site}) == 403


def test_a_change_without_an_origin_is_refused():
    assert status("POST", "/api/move", OURS) == 403
    assert status("GET", "/api/state", OURS) == 200


@pytest.mark.parametrize(
    "given", [None, "", "Bearer ", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", KEY, f"bearer {KEY}",
              "Bearer \u00e9"],
)
def test_nothing_of_the_arm_is_shown_or_moved_without_the_key(given):
    headers = {k: v for k, v in MOVES.items() if k != "Authorization"}
    if given is not None:
        headers["Authorization"] = given
    for method, path in (("GET", "/api/state"), ("GET", "/api/picture"), ("GET", "/api/goal/0"),
                         ("POST", "/api/move"), ("POST", "/api/stop"), ("GET", "//"),
                         ("GET", "/page.html")):
        assert status(method, path, headers) == 401


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "HEAD", "CONNECT"])
def test_other_methods_are_refused(method):
    assert status(method, "/api/move", MOVES) == 405


def test_the_page_needs_nothing_from_elsewhere_and_allows_nothing_but_its_own():
    page = PAGE.read_text()
    assert not re.search(r"(src|href|action)\s*=\s*[\"'](?!data:,)", page.split("<script>")[0])
    assert not re.search(r"https?://|[\"'(]//", page)
    assert not re.search(r"\son[a-z]+=|style=", page)  # which the policy would not run
    policy = policy_of(page)
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert policy.count("'sha256-") == 2
    assert policy_of(page.replace("use strict", "use Strict")) != policy


@pytest.mark.parametrize("page", ["", "<p>x</p>"])
def test_a_page_without_script_may_run_none(page):
    assert "script-src 'none'" in policy_of(page)
