"""Keys: what is kept says nothing of the secret, and opens for it alone."""

import json

import pytest

from serving.access.keys import SCOPES, Key, issue, split
from serving.errors import KeyInvalid

NOW = 1_000_000.0


def test_a_key_opens_for_its_own_secret_alone() -> None:
    key, reads = issue("kim", ("predict",), 1.0, NOW)
    other, other_reads = issue("kim", ("predict",), 1.0, NOW)
    identifier, secret = split(reads) or ("", "")
    assert identifier == key.id != other.id
    assert key.opened_by(secret)
    assert not key.opened_by(secret[:-1] + ("A" if secret[-1] != "A" else "B"))
    assert not key.opened_by((split(other_reads) or ("", ""))[1])
    assert len(secret) == 43, "256 bits"
    assert secret not in json.dumps(key.as_dict())


def test_what_is_kept_comes_back() -> None:
    key, _ = issue("backend@shop", ("feedback", "predict"), 90, NOW)
    assert key.scopes == ("predict", "feedback")
    assert Key.from_dict(json.loads(json.dumps(key.as_dict()))) == key
    broken: object
    for broken in ({}, key.as_dict() | {"expires": "never"}, [], None):
        with pytest.raises(KeyInvalid, match="a stored key cannot be read"):
            Key.from_dict(broken)


def test_a_key_is_live_until_it_expires_or_is_revoked() -> None:
    key, _ = issue("kim", SCOPES, 1.0, NOW)
    assert key.live(NOW)
    assert key.live(NOW + 86_399)
    assert not key.live(NOW + 86_400)
    assert not Key(**key.as_dict() | {"revoked": NOW}).live(NOW)


@pytest.mark.parametrize(
    ("owner", "scopes", "days", "said"),
    [
        ("", ("predict",), 1.0, "owner is ''"),
        ("이름", ("predict",), 1.0, "owner is '이름'"),
        ("a\nb", ("predict",), 1.0, "owner is"),
        ("kim", (), 1.0, "scopes are none; they must be among predict, feedback, admin"),
        ("kim", ("predict", "all"), 1.0, "scopes are predict, all"),
        ("kim", ("predict",), 0.0, "days are 0; they must be above 0 and at most 3650"),
        ("kim", ("predict",), float("nan"), "days are nan"),
        ("kim", ("predict",), 4_000.0, "days are 4000"),
    ],
)
def test_what_makes_no_key_is_told(owner: str, scopes: tuple[str, ...], days: float, said: str) -> None:
    with pytest.raises(KeyInvalid, match=said):
        issue(owner, scopes, days, NOW)


@pytest.mark.parametrize("presented", ["", "nsmc", "nsmc_ab_cd", "nsmc_0123456789ab_" + "x" * 42, "x" * 10_000])
def test_what_is_no_key_is_none(presented: str) -> None:
    assert split(presented) is None
    assert split(f"nsmc_0123456789ab_{'x' * 43}\n") is None
