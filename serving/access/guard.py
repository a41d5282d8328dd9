"""The guard in front of all routes: what needs a key is answered only with one."""

from collections.abc import Collection

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.access import keys
from serving.access.access import Access
from serving.access.quota import network
from serving.api import KEY_ID
from serving.body import Coming
from serving.errors import ModelUnavailable, ServingError
from serving.fairness import CALLER
from serving.refusal import refuse

_AUTHORIZATION = b"authorization"


class Guard:
    """Lets through what is ``open``, and of the rest what comes with a key for it. Pure ASGI."""

    def __init__(
        self, app: ASGIApp, own: FastAPI, *, open: Collection[str], feedback: Collection[str], admin: str
    ) -> None:
        """``own`` is the application whose state holds the ``Access``; ``admin`` is how paths of commands begin.

        Paths of ``open`` take no key, those of ``feedback`` one of that scope, all others one to predict. Whatever only
        looks (GET) is content with any.
        """
        self.app = app
        self._own = own
        self._open, self._feedback, self._admin = frozenset(open), frozenset(feedback), admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["path"] in self._open:
            await self.app(scope, receive, send)
            return
        access: Access | None = self._own.state.access
        given = next((value for name, value in scope["headers"] if name == _AUTHORIZATION), None)
        try:
            if access is None:
                raise ModelUnavailable("the service is still starting")
            key = access.check(None if given is None else given.decode("latin-1"), self._needed(scope))
        except ServingError as error:
            await refuse(error, self._own, scope, Coming(receive), send)
            return
        client = scope.get("client")
        if key is not None:
            scope[KEY_ID] = key.id
        token = CALLER.set(key.id if key is not None else network(client[0]) if client else "")
        try:
            await self.app(scope, receive, send)
        finally:
            CALLER.reset(token)

    def _needed(self, scope: Scope) -> keys.Scope | None:
        path = scope["path"]
        if scope["method"] in ("GET", "HEAD"):
            return None
        return "admin" if path.startswith(self._admin) else "feedback" if path in self._feedback else "predict"
