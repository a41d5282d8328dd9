import pytest

from serving.errors import SettingInvalid
from serving.settings import Settings


def test_defaults_are_valid_and_frozen() -> None:
    settings = Settings()
    assert settings.redis_url is None
    with pytest.raises(ValueError, match="frozen"):
        settings.threads = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"REDIS_URL": "http://x"}, "REDIS_URL"),
        ({"CACHE_ENTRIES": "-1"}, "CACHE_ENTRIES: Input should be greater than or equal to 0"),
        ({"MAX_BATCH_SIZE": "many"}, "MAX_BATCH_SIZE"),
        ({"MAX_LATENCY_MS": "10000", "TIMEOUT_S": "5"}, "MAX_LATENCY_MS is 10000; it must be below TIMEOUT_S"),
        (
            {"MAX_QUEUE_TOKENS": "600", "BATCH_TOKENS": "601"},
            "MAX_QUEUE_TOKENS is 600; it must be at least BATCH_TOKENS",
        ),
        ({"MAX_STREAM_BYTES": "2000"}, "MAX_STREAM_BYTES is 2000; it must be at least MAX_BODY_BYTES"),
        ({"TRACING_ENDPOINT": "collector:4318"}, "TRACING_ENDPOINT"),
        ({"ACCESS": "none"}, "ACCESS: Input should be 'keys' or 'open'"),
        ({"CORS_ORIGINS": '["*"]'}, "CORS_ORIGINS"),
        ({"CORS_ORIGINS": '["https://shop.example/path"]'}, "CORS_ORIGINS"),
        ({"CORS_ORIGINS": "https://shop.example"}, "CORS_ORIGINS: it must be"),
    ],
)
def test_bad_variables_are_named(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingInvalid, match=message):
        Settings.from_environment()


def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    assert Settings.from_environment().redis_url is None


@pytest.mark.parametrize(
    ("variables", "device", "processes"),
    [
        ({}, None, 1),
        ({"WORKERS": "3"}, None, 3),
        ({"GPUS": "2"}, "cuda", 2),
        ({"GPUS": "2", "WORKERS": "2"}, "cuda", 4),
        ({"GPUS": "1", "DEVICE": "cpu"}, "cpu", 1),
    ],
)
def test_gpus_are_wanted_where_there_are_to_be_any(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], device: str | None, processes: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = Settings.from_environment()
    assert (found.wanted.device, found.processes) == (device, processes)


def test_the_limits_of_a_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLOUT_LIMITS", '{"cost": 3, "disagreement_refused": 0.4}')
    limits = Settings.from_environment().rollout_limits
    assert (limits.cost, limits.disagreement_refused, limits.disagreement_allowed) == (3.0, 0.4, 0.1)
    for value, message in (
        ('{"costs": 3}', r"ROLLOUT_LIMITS\.COSTS: (Unexpected|Extra)"),
        ('{"cost": "many"}', r"ROLLOUT_LIMITS\.COST: Input should be a valid number"),
        ('{"cost": 0}', r"ROLLOUT_LIMITS: Value error, cost is 0; it must be above 0"),
        ('{"errors_allowed": 0.5}', r"errors_allowed is 0\.5 and errors_refused is 0\.02; it must hold 0 < allowed <"),
    ):
        monkeypatch.setenv("ROLLOUT_LIMITS", value)
        with pytest.raises(SettingInvalid, match=message):
            Settings.from_environment()
    monkeypatch.setenv("ROLLOUT_LIMITS", "cost=3")
    with pytest.raises(SettingInvalid, match="ROLLOUT_LIMITS: it must be JSON"):
        Settings.from_environment()
