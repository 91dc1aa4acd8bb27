"""The page over HTTP, on this machine only (aiohttp)."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arm_worldmodel.page.access import KEY_BYTES, MOST_BYTES, Refused, check_request, policy_of
from arm_worldmodel.page.desk import Answer, Desk

try:
    from aiohttp import web
except ImportError as error:
    raise ImportError(
        "the page needs aiohttp: pip install 'arm-worldmodel[page]'"
    ) from error

HOST = "127.0.0.1"
PAGE = Path(__file__).parent / "page.html"
WIDEST, QUALITY = 1280, 85  # of pictures that are shown [pixels]; of JPEG
HEADERS = {
    "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
}


class Server:
    """Routes of the page; every answer to a POST is {"done": bool, "text": str}."""

    def __init__(self, desk: Desk, key: str) -> None:
        self.desk, self.key = desk, key
        self.page = PAGE.read_text()
        # A stop has threads of its own: it waits for no picture, and for no other request.
        self._stops = ThreadPoolExecutor(4, "stop")
        self._others = ThreadPoolExecutor(8, "request")
        self.app = web.Application(
            middlewares=[self._guarded], client_max_size=MOST_BYTES,
        )
        self.app.add_routes([
            web.get("/", self._page), web.get("/api/state", self._state),
            web.get("/api/picture", self._picture), web.get("/api/goal/{number}", self._goal),
            web.post("/api/stop", self._stop), web.post("/api/{wish}", self._wish),
        ])

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            check_request(request.method, request.path, request.headers, self.key)
            answer = await handler(request)
        except web.HTTPException as error:  # no such path, or no such method
            answer = web.json_response(
                {"done": False, "text": f"Refused: {error.reason}."}, status=error.status
            )
        except Refused as refused:
            answer = web.json_response(
                {"done": False, "text": f"Refused: {refused}."}, status=refused.status
            )
        answer.headers.update(HEADERS)
        return answer

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(
            text=self.page, content_type="text/html",
            headers={"Content-Security-Policy": policy_of(self.page)},
        )

    def close(self) -> None:
        """End its threads; waits for no request."""
        for threads in (self._stops, self._others):
            threads.shutdown(wait=False, cancel_futures=True)

    # -- what is seen ----------------------------------------------------------------------------

    async def _state(self, request: web.Request) -> web.Response:
        if request.query.get("visible") == "1":
            self.desk.seen()
        return web.json_response(await self._in_thread(self._others, self.desk.state))

    async def _picture(self, _: web.Request) -> web.Response:
        found = await self._in_thread(self._others, self._coded)
        if found is None:
            return web.Response(status=204)  # none has come yet
        stamp, data = found
        return web.Response(
            body=data, content_type="image/jpeg", headers={"X-Stamp": f"{stamp!r}"}
        )

    def _coded(self) -> tuple[float, bytes] | None:
        newest = self.desk.link.inbox.newest()
        return None if newest is None else (newest[0], jpeg(newest[1]))

    async def _goal(self, request: web.Request) -> web.Response:
        goals, number = self.desk.goals, request.match_info["number"]
        if not number.isdecimal() or int(number) >= len(goals):
            raise Refused(404, f"there are {len(goals)} goals")
        data = await self._in_thread(self._others, jpeg, goals[int(number)].image)
        return web.Response(body=data, content_type="image/jpeg")

    # -- what is asked ---------------------------------------------------------------------------

    async def _stop(self, _: web.Request) -> web.Response:
        return _answered(await self._in_thread(self._stops, self.desk.stop))

    async def _wish(self, request: web.Request) -> web.Response:
        given = await _body(request)
        work = self._work(request.match_info["wish"], given)
        return _answered(await self._in_thread(self._others, work))

    def _work(self, wish: str, given: dict[str, Any]) -> Callable[[], Answer]:
        """What a request asks for.  Raises ``Refused`` where it asks for nothing that there is."""
        desk = self.desk
        match wish:
            case "capture":
                return lambda: desk.capture(str(given.get("name", "")))
            case "mark":
                try:
                    u, v, stamp = (float(given[name]) for name in ("u", "v", "stamp"))
                except (KeyError, TypeError, ValueError):
                    raise Refused(400, "expected u, v and stamp, three numbers") from None
                return lambda: desk.mark(u, v, stamp)
        works = {
            "forget": desk.forget, "imagine": desk.imagine, "move": desk.move,
            "recover": desk.recover, "resume": desk.resume,
        }
        if wish not in works:
            known = ", ".join(("stop", "capture", "mark", *works))
            raise Refused(404, f"no such request; there are {known}")
        return works[wish]

    @staticmethod
    async def _in_thread(threads: ThreadPoolExecutor, work: Callable[..., Any], *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(threads, work, *given)


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object of a request, {} where it has no body."""
    try:
        data = await request.read()
        given = json.loads(data) if data else {}
    except web.HTTPRequestEntityTooLarge:
        raise Refused(413, f"a request has {MOST_BYTES} bytes at most") from None
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise Refused(400, "expected a JSON object")
    return given


def _answered(answer: Answer) -> web.Response:
    done, text = answer
    return web.json_response({"done": done, "text": text}, status=200 if done else 409)


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """A picture uint8 [H, W, 3] as JPEG, at most ``WIDEST`` wide and high."""
    shown, data = Image.fromarray(image), io.BytesIO()
    shown.thumbnail((WIDEST, WIDEST))
    shown.save(data, "JPEG", quality=QUALITY)
    return data.getvalue()


def serve(desk: Desk, port: int) -> None:
    """Serves the page until it is interrupted; says on the terminal where it is.  Raises
    ``OSError`` where the port is taken."""
    server = Server(desk, secrets.token_urlsafe(KEY_BYTES))
    try:
        asyncio.run(_serve(server, port))
    finally:
        server.close()


@contextlib.asynccontextmanager
async def listening(server: Server, port: int) -> AsyncIterator[str]:
    """While it is open the page is served; gives its address, the key included."""
    runner = web.AppRunner(server.app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        host, number = runner.addresses[0][:2]
        yield f"http://{host}:{number}/#{server.key}"
    finally:
        await runner.cleanup()


async def _serve(server: Server, port: int) -> None:
    async with listening(server, port) as address:
        print(f"the page: {address}\nwhoever has this address moves the arm; Ctrl-C ends",
              flush=True)
        await asyncio.Event().wait()
