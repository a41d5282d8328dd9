"""Both stores: in a file, and in a real Redis."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serving.access.keys import issue
from serving.access.redis_store import RedisKeys
from serving.access.store import FileKeys, KeyStore
from serving.errors import KeyInvalid, KeysUnreachable
from tests.redis_server import RedisServer

NOW = 1_000_000.0


@pytest.fixture(params=["file", "redis"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KeyStore]:
    made: KeyStore
    if request.param == "file":
        made = FileKeys(tmp_path / "keys" / "keys.json")
    else:
        made = RedisKeys(request.getfixturevalue("redis_url"), "fleet")
    yield made
    await made.close()


async def test_keys_are_added_and_revoked_and_never_gone(store: KeyStore) -> None:
    assert await store.read() == []
    first, _ = issue("kim", ("predict",), 1.0, NOW)
    second, _ = issue("lee", ("admin",), 1.0, NOW)
    await store.add(first)
    await store.add(second)
    gone = await store.revoke(first.id, NOW + 5)
    assert gone.revoked == NOW + 5
    assert await store.revoke(first.id, NOW + 9) == gone, "once is enough"
    assert {key.id: key for key in await store.read()} == {first.id: gone, second.id: second}
    with pytest.raises(KeyInvalid, match=f"there is no key 'abc'; there are: .*{second.id}"):
        await store.revoke("abc", NOW)


async def test_an_owner_has_two_live_keys_to_rotate_them(store: KeyStore) -> None:
    old, new, third = (issue("kim", ("predict",), 1.0, NOW)[0] for _ in range(3))
    await store.add(old)
    await store.add(new)
    with pytest.raises(KeyInvalid, match=r"kim has 2 live keys \(.*\), which is what rotation needs; revoke one"):
        await store.add(third)
    await store.revoke(old.id, NOW)
    await store.add(third)


async def test_of_many_at_once_none_is_lost_and_no_owner_has_too_many(store: KeyStore) -> None:
    keys = [issue(f"owner-{number % 4}", ("predict",), 1.0, NOW)[0] for number in range(8)]
    for pair in zip(keys[::2], keys[1::2], strict=True):
        await asyncio.gather(*(store.add(key) for key in pair))
    assert {key.id for key in await store.read()} == {key.id for key in keys}
    more = await asyncio.gather(
        *(store.add(issue("park", ("predict",), 1.0, NOW)[0]) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(each, KeyInvalid) for each in more) == 3


async def test_a_file_is_its_owners_and_says_nothing_of_secrets(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key, reads = issue("kim", ("predict",), 1.0, NOW)
    await FileKeys(file).add(key)
    assert mode(file) == 0o600
    assert reads.split("_", 2)[2] not in content(file)


async def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key, _ = issue("kim", ("predict",), 1.0, NOW)
    for broken, error in (("{", KeysUnreachable), ("{}", KeyInvalid), ("[1]", KeyInvalid)):
        write(file, broken)
        with pytest.raises(error):
            await FileKeys(file).read()
        with pytest.raises(error):
            await FileKeys(file).add(key)
        assert content(file) == broken, "what is there is not lost"
    write(file, json.dumps([key.as_dict()]))
    assert await FileKeys(file).read() == [key]
    with pytest.raises(KeysUnreachable, match="KEYS_FILE cannot be written: File exists"):
        await FileKeys(file / "keys.json").add(key)


async def test_a_redis_that_is_gone_or_holds_something_else_is_told(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    store = RedisKeys(server.url, "fleet")
    key, _ = issue("kim", ("predict",), 1.0, NOW)
    with server.client() as client:
        client.hset("nsmc:keys:fleet", "abc", "no key")
    with pytest.raises(KeysUnreachable, match="what Redis holds is no key"):
        await store.read()
    server.stop()
    with pytest.raises(KeysUnreachable, match="Redis cannot be asked for keys: ConnectionError"):
        await store.add(key)
    await store.close()


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


def content(file: Path) -> str:
    return file.read_text()


def write(file: Path, text: str) -> None:
    file.write_text(text)
