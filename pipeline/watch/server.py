"""The web face of ``photonlink watch``: static files, JSON, server-sent events, /metrics.

Read only towards nodes. An operator's notes (acknowledge, shelve) stay in watch's own history file;
they need a login where one is required, and a header that only our own page sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from aiohttp import web

from photonlink.pipeline.watch.access import COOKIE, SESSION_S, Access
from photonlink.pipeline.watch.figures import FIGURES, HistoryError, read_series
from photonlink.pipeline.watch.metrics import exposition
from photonlink.pipeline.watch.service import Watch

_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "txt": "text/plain"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_OPEN = {"/login", "/login.html", "/style.css", "/login.js", "/healthz"}
HEADER = "X-Photonlink"
SCREEN_POINTS = 2_000
MAX_SPAN_S = 11 * 366 * 86_400.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pages:
    """Handlers of one watch."""

    def __init__(self, watch: Watch, access: Access) -> None:
        self._watch, self._access = watch, access
        self._files = {
            entry.name: entry.read_bytes()
            for entry in (resources.files(__package__) / "static").iterdir()
            if entry.is_file()
        }

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=16_384)
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/events", self._events),
                web.get("/api/links", self._links),
                web.get("/api/link", self._link),
                web.get("/api/alarms", self._alarms),
                web.get("/api/graph", self._graph),
                web.get("/api/history", self._history),
                web.get("/api/log", self._log),
                web.post("/api/note", self._note),
                web.post("/login", self._login),
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._health),
                web.get("/{name}", self._static),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Login where one is needed; strict headers on every answer."""
        try:
            if self._user(request) is None and request.path not in _OPEN:
                if request.path == "/":
                    raise web.HTTPFound("/login.html")
                raise web.HTTPUnauthorized(text="log in at /login.html")
            response = await handler(request)
        except web.HTTPException as answer:
            answer.headers.update(_headers())
            raise
        if not response.prepared:
            response.headers.update(_headers())
        return response

    def _user(self, request: web.Request) -> str | None:
        """The user, by certificate or session; None: unknown."""
        return _certified(request) or self._access.who(request.cookies.get(COOKIE, ""))

    async def _index(self, request: web.Request) -> web.Response:
        return self._file("index.html")

    async def _static(self, request: web.Request) -> web.Response:
        return self._file(request.match_info["name"])

    def _file(self, name: str) -> web.Response:
        data = self._files.get(name)
        if data is None:
            raise web.HTTPNotFound(text="no such page")
        kind = _TYPES.get(name.rpartition(".")[2], "application/octet-stream")
        return web.Response(body=data, content_type=kind, charset="utf-8")

    async def _links(self, request: web.Request) -> web.Response:
        return web.json_response(self._watch.snapshot())

    async def _link(self, request: web.Request) -> web.Response:
        found = self._watch.detail(request.query.get("key", ""))
        if found is None:
            raise web.HTTPNotFound(text="no such link")
        return web.json_response(found)

    async def _alarms(self, request: web.Request) -> web.Response:
        return web.json_response(self._watch.alarms())

    async def _graph(self, request: web.Request) -> web.Response:
        return web.json_response(self._watch.graph())

    async def _history(self, request: web.Request) -> web.Response:
        since, until = self._span(request)
        site, _, node = request.query.get("node", "").partition("/")
        names = request.query.get("figures", "skr_bps").split(",")
        history = self._watch.history
        waiting = history.waiting(site, node)

        def read() -> bytes:
            with history.reading() as db:
                series = read_series(
                    db, waiting, site, node, names[: len(FIGURES)], since, until, SCREEN_POINTS
                )
            return json.dumps(series, separators=(",", ":")).encode()

        try:
            # in a thread: a year takes tens of milliseconds, and messages go on meanwhile
            body = await asyncio.to_thread(read) if history.on_disk else read()
        except HistoryError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        except sqlite3.Error as error:
            raise web.HTTPServiceUnavailable(text=f"history: {error}") from None
        return web.Response(body=body, content_type="application/json")

    async def _log(self, request: web.Request) -> web.Response:
        since, until = self._span(request)
        return web.json_response(self._watch.history.events(since, until))

    def _span(self, request: web.Request) -> tuple[float, float]:
        now = self._watch.clock()
        try:
            until = float(request.query.get("until", now))
            since = float(request.query.get("since", until - 3600.0))
        except ValueError:
            raise web.HTTPBadRequest(text="since and until are UNIX seconds") from None
        if not 0 <= since <= until <= now + 86_400.0 or until - since > MAX_SPAN_S:
            raise web.HTTPBadRequest(text="since and until are no span of time")
        return since, until

    async def _note(self, request: web.Request) -> web.Response:
        """Acknowledge, shelve for a time, or undo: a note in our file, without effect on the
        node.
        """
        if request.headers.get(HEADER) != "1":
            raise web.HTTPForbidden(text=f"needs the header {HEADER}: 1")
        try:
            body: dict[str, Any] = await request.json()
            alarm, what = str(body["alarm"])[:200], str(body["what"])
            hours = min(max(float(body.get("hours", 0.0)), 0.0), 24.0 * 31)
        except (ValueError, KeyError, TypeError):
            raise web.HTTPBadRequest(text="needs alarm and what") from None
        history, now = self._watch.history, self._watch.clock()
        try:
            if what == "undo":
                history.unnote(alarm)
            elif what in ("ack", "shelve"):
                history.note(alarm, self._user(request) or "", what, now, now + 3600.0 * hours)
            else:
                raise web.HTTPBadRequest(text="what is ack, shelve or undo")
        except sqlite3.Error as error:
            raise web.HTTPServiceUnavailable(text=f"history: {error}") from None
        return web.json_response(self._watch.alarms())

    async def _login(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        token = await asyncio.to_thread(
            self._access.login, str(form.get("name", "")), str(form.get("password", ""))
        )
        if token is None:
            raise web.HTTPFound("/login.html?failed")
        answer = web.HTTPFound("/")
        answer.set_cookie(
            COOKIE, token, max_age=int(SESSION_S), httponly=True, samesite="Strict",
            secure=request.secure,
        )  # fmt: skip
        raise answer

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(
            body=exposition(self._watch), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: a snapshot, then changes. ``?link=KEY`` adds that link."""
        viewer = self._watch.join(request.query.get("link", "")[:200])
        if viewer is None:
            raise web.HTTPServiceUnavailable(text="too many viewers")
        response = web.StreamResponse(
            headers={**_headers(), "Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        try:
            await response.prepare(request)
            while True:
                try:
                    async with asyncio.timeout(15.0):
                        data = await viewer.queue.get()
                except TimeoutError:
                    data = b": still here\n\n"
                async with asyncio.timeout(30.0):
                    await response.write(data)
        except (ConnectionError, TimeoutError):
            pass  # the page was closed, or does not read
        finally:
            self._watch.viewers.discard(viewer)
        return response


def _certified(request: web.Request) -> str | None:
    """The common name of a client's certificate; TLS has checked it against --client-ca."""
    found = request.transport.get_extra_info("peercert") if request.transport else None
    names = [value for part in (found or {}).get("subject", ()) for key, value in part
             if key == "commonName"]  # fmt: skip
    return str(names[0])[:100] if names else None


def _headers() -> dict[str, str]:
    return {
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


@contextlib.asynccontextmanager
async def serving(watch: Watch, access: Access, host: str, port: int, tls: Any = None) -> Any:
    """Listen; yields the port. OSError when the address is taken."""
    runner = web.AppRunner(Pages(watch, access).app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        await site.start()
        server = site._server
        sockets = getattr(server, "sockets", None) or ()
        yield next((s.getsockname()[1] for s in sockets), port)
    finally:
        await runner.cleanup()
