"""Who gets what: every route, each scope, keys that are wrong, over or revoked, and a store that goes away."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from serving.access import access as accesses
from serving.access.access import Access
from serving.access.admission import admission
from serving.access.keys import SCOPES, Key, issue
from serving.access.store import FileKeys
from serving.api import BUSIEST, PREFIX
from serving.app import OPEN, create_app, cross_origin, guard, paths
from serving.boundary import RequestBoundary
from serving.errors import KeysUnreachable, SettingInvalid
from serving.express import Express
from serving.rollout.gates import Limits
from serving.rollout.operator import Operator
from serving.rollout.store import FileStore
from serving.sentiment import Sentiment
from serving.settings import Settings
from serving.slots import Slots
from serving.telemetry.metrics import Metrics


class Store:
    """Keys in memory, or none to be had."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self.gone = False

    async def read(self) -> list[Key]:
        if self.gone:
            raise KeysUnreachable("Redis cannot be asked for keys: ConnectionError")
        return list(self.keys)

    async def add(self, key: Key) -> None:
        self.keys.append(key)

    async def revoke(self, identifier: str, now: float) -> Key:
        raise NotImplementedError

    async def close(self) -> None:
        pass


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def given(store: Store) -> dict[str, str]:
    """How a key of each scope reads."""
    reads: dict[str, str] = {}
    for scope in SCOPES:
        key, reads[scope] = issue(f"{scope}-owner", (scope,), 1.0, time.time())
        await store.add(key)
    return reads


@pytest.fixture
async def access(store: Store, given: dict[str, str]) -> Access:
    access = Access(store, needed=True)
    assert await access.refresh()
    return access


@pytest.fixture
def app(sentiment: Sentiment, access: Access, tmp_path: Path) -> FastAPI:
    app = create_app(Settings())
    app.state.slots, app.state.access = Slots(sentiment), access
    app.state.operator = Operator(FileStore(tmp_path), Limits(), 60.0)
    return app


@pytest.fixture
async def client(app: FastAPI, metrics: Metrics) -> AsyncIterator[httpx.AsyncClient]:
    made = guard(app)
    whole = RequestBoundary(made.cls(Express(app, app, BUSIEST), *made.args, **made.kwargs), metrics, paths())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=whole), base_url="http://test") as client:
        yield client


def bearer(reads: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {reads}"}


async def test_without_a_key_only_what_is_open_answers(client: httpx.AsyncClient, app: FastAPI) -> None:
    document = app.openapi()["paths"]
    for path, operations in document.items():
        for method in operations:
            response = await client.request(method, path)
            if path in OPEN:
                assert response.status_code == 200, path
                continue
            assert response.status_code == 401, path
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert response.json()["type"] == "urn:nsmc-sentiment:problem:not-allowed"
            assert "401" in document[path][method]["responses"], path
    assert (await client.get("/")).status_code == 200
    for path in ("/nowhere", "/predict", "/infer", "/docs.json", f"{PREFIX}/analyze/", f"/{PREFIX}/analyze"):
        assert (await client.post(path)).status_code == 401, path


@pytest.mark.parametrize(
    ("method", "path", "body", "scopes"),
    [
        ("POST", f"{PREFIX}/analyze", {"text": "굿"}, {"predict"}),
        ("POST", f"{PREFIX}/batch", {"texts": ["굿"]}, {"predict"}),
        ("POST", f"{PREFIX}/explain", {"text": "굿"}, {"predict"}),
        ("POST", f"{PREFIX}/feedback", {"label": "긍정", "text": "굿"}, {"feedback"}),
        ("POST", f"{PREFIX}/rollout/release", {"who": "kim"}, {"admin"}),
        ("GET", f"{PREFIX}/rollout", None, set(SCOPES)),
        ("GET", f"{PREFIX}/rollout/history", None, set(SCOPES)),
        ("GET", f"{PREFIX}/model-info", None, set(SCOPES)),
    ],
)
async def test_a_key_opens_what_its_scope_says(
    client: httpx.AsyncClient, given: dict[str, str], method: str, path: str, body: object, scopes: set[str]
) -> None:
    for scope, reads in given.items():
        response = await client.request(method, path, json=body, headers=bearer(reads))
        if scope in scopes:
            assert response.status_code in (200, 409, 503), "it went through; nothing is staged, no journal is kept"
            continue
        assert response.status_code == 403
        assert response.json()["type"] == "urn:nsmc-sentiment:problem:scope-missing"
        assert f"is for {scope}; this needs {next(iter(scopes))}" in response.json()["detail"]
        assert reads.split("_", 2)[2] not in response.text


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic a2ltOmtpbQ==",
        "Bearer nsmc_0123456789ab_short",
        "Bearer 키".encode(),
        "\x00" * 99,
    ],
)
async def test_what_is_no_key_is_refused_without_being_quoted(client: httpx.AsyncClient, header: str) -> None:
    response = await client.post(f"{PREFIX}/analyze", json={"text": "굿"}, headers={"Authorization": header})
    assert response.status_code == 401
    assert "short" not in response.text
    assert "a2lt" not in response.text


async def test_a_wrong_secret_an_unknown_id_and_a_key_that_is_over(
    client: httpx.AsyncClient, given: dict[str, str], store: Store, access: Access
) -> None:
    right = given["predict"]
    forged = right[:-4] + ("AAAA" if right[-4:] != "AAAA" else "BBBB")
    unknown = issue("x", ("predict",), 1.0, time.time())[1]
    for reads in (forged, unknown):
        response = await client.get(f"{PREFIX}/model-info", headers=bearer(reads))
        assert (response.status_code, response.json()["detail"]) == (401, "the key is not known")
    old, reads = issue("x", ("predict",), 1.0, time.time() - 100_000)
    store.keys.append(old)
    await access.refresh()
    response = await client.get(f"{PREFIX}/model-info", headers=bearer(reads))
    assert (response.status_code, response.json()["detail"]) == (401, f"key {old.id} has expired")
    store.keys = [Key(**key.as_dict() | {"revoked": time.time()}) for key in store.keys]
    await access.refresh()
    response = await client.get(f"{PREFIX}/model-info", headers=bearer(right))
    assert response.status_code == 401
    assert response.json()["detail"].endswith("was revoked")


async def test_a_body_that_is_not_wanted_is_not_kept(client: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * (1 << 20)

    response = await client.post(f"{PREFIX}/batch", content=pieces())
    assert response.status_code == 401


async def test_a_store_that_is_gone_or_empty_changes_nothing(
    store: Store, given: dict[str, str], access: Access, caplog: pytest.LogCaptureFixture
) -> None:
    authorization = bearer(given["predict"])["Authorization"]
    store.gone = True
    assert await access.refresh()
    assert await access.refresh()
    assert access.check(authorization, "predict")
    store.gone, kept, store.keys = False, store.keys, []
    assert await access.refresh()
    assert access.check(authorization, "predict")
    store.keys = kept
    caplog.set_level("INFO")
    assert await access.refresh()
    assert [record.message for record in caplog.records] == [
        "Redis cannot be asked for keys: ConnectionError; those known before stay in force",
        "the store has lost its keys; those known before stay in force",
        "the keys can be read again",
    ]
    assert not any(part in caplog.text for part in authorization.split("_", 2)[1:])


async def test_a_worker_that_starts_while_the_keys_cannot_be_had_says_so(
    client: httpx.AsyncClient, app: FastAPI, store: Store, given: dict[str, str]
) -> None:
    store.gone, app.state.access = True, Access(store, needed=True)
    assert not await app.state.access.refresh()
    response = await client.post(f"{PREFIX}/analyze", json={"text": "굿"}, headers=bearer(given["predict"]))
    assert (response.status_code, response.json()["detail"]) == (503, "keys cannot be checked now")
    store.gone = False
    assert await app.state.access.refresh()
    response = await client.post(f"{PREFIX}/analyze", json={"text": "굿"}, headers=bearer(given["predict"]))
    assert response.status_code == 200


async def test_where_no_key_is_needed_commands_need_one_all_the_same(
    client: httpx.AsyncClient, access: Access, given: dict[str, str]
) -> None:
    access.needed = False
    assert (await client.post(f"{PREFIX}/analyze", json={"text": "굿"})).status_code == 200
    assert (await client.post(f"{PREFIX}/rollout/release", json={"who": "kim"})).status_code == 401
    wrong = await client.post(f"{PREFIX}/analyze", json={"text": "굿"}, headers=bearer("nsmc_x_y"))
    assert wrong.status_code == 401, "whoever shows a key is held to it"


async def test_while_the_service_starts_nobody_is_let_in(client: httpx.AsyncClient, app: FastAPI) -> None:
    app.state.access = None
    assert (await client.post(f"{PREFIX}/analyze", json={"text": "굿"})).status_code == 503


@pytest.mark.parametrize(
    ("setting", "public", "keys", "needed"),
    [
        (None, [], 0, False),
        (None, [], 1, False),
        (None, ["0.0.0.0:3000"], 1, True),
        ("open", ["0.0.0.0:3000"], 0, False),
        ("keys", ["0.0.0.0:3000"], 0, True),
        ("keys", [], 0, True),
    ],
)
async def test_whether_keys_are_needed(
    setting: str | None,
    public: list[str],
    keys: int,
    needed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serving.access.admission.public_addresses", lambda: public)
    file = tmp_path / "keys.json"
    for _ in range(keys):
        await FileKeys(file).add(issue("kim", ("predict",), 1.0, time.time())[0])
    assert (await admission(Settings(access=setting, keys_file=file))).needed is needed


async def test_a_service_that_anybody_reaches_does_not_start_without_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.access.admission.public_addresses", lambda: ["0.0.0.0:3000"])
    with pytest.raises(SettingInvalid, match=r"listens on 0\.0\.0\.0:3000, where other machines reach it, and"):
        await admission(Settings(keys_file=tmp_path / "keys.json"))


async def test_keys_are_read_again_by_themselves(
    store: Store, given: dict[str, str], access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accesses, "PERIOD_S", 0.01)
    running = asyncio.create_task(access.run())
    new, reads = issue("new", ("predict",), 1.0, time.time())
    store.keys.append(new)
    for _ in range(200):
        if new.id in (access._keys or {}):
            break
        await asyncio.sleep(0.01)
    assert access.check(f"Bearer {reads}", "predict") == new
    running.cancel()


async def test_pages_of_other_origins_may_call_only_where_they_are_named(
    app: FastAPI, metrics: Metrics, given: dict[str, str]
) -> None:
    named = "https://shop.example"
    (cors,), made = cross_origin(Settings(cors_origins=(named,))), guard(app)
    assert cross_origin(Settings()) == []
    inner = made.cls(Express(app, app, BUSIEST), *made.args, **made.kwargs)
    whole = RequestBoundary(cors.cls(inner, *cors.args, **cors.kwargs), metrics, paths())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=whole), base_url="http://test") as client:
        for origin, status in ((named, 200), ("https://evil.example", 400), ("null", 400)):
            asked = {
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type",
            }
            preflight = await client.options(f"{PREFIX}/analyze", headers=asked)
            assert preflight.status_code == status
            answer = await client.post(
                f"{PREFIX}/analyze", json={"text": "굿"}, headers={"Origin": origin} | bearer(given["predict"])
            )
            assert answer.headers.get("Access-Control-Allow-Origin") == (named if status == 200 else None)
            assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_answers_are_not_kept_by_what_is_in_between(client: httpx.AsyncClient, given: dict[str, str]) -> None:
    answer = await client.post(f"{PREFIX}/analyze", json={"text": "굿"}, headers=bearer(given["predict"]))
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert (await client.get("/")).headers["Cache-Control"] == "no-cache", "a page says by itself"
