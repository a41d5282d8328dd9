"""Both clients against a real server that misbehaves."""

import asyncio
import json
import logging
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from nsmc_sentiment import (
    AsyncSentimentClient,
    ConnectionFailed,
    Correction,
    CorrectionNotKept,
    DeadlineExceeded,
    Overloaded,
    RequestRejected,
    RetryPolicy,
    SentimentClient,
    SentimentError,
    ServiceUnavailable,
    UnexpectedAnswer,
    Verdict,
)

from tests.client.conftest import QUICK, Connect
from tests.client.flaky_server import DIGEST, MODEL_TAG, OVERLOADED, FlakyServer, Reply, json_reply, problem

TELLTALE = "비밀스러운리뷰"
KEY = "k-0123456789-secret"
GONE = problem("no-model", 503, "no model is loaded yet")
NO_JOURNAL = problem("no-journal", 503, "JOURNAL_FOLDER is not set", Retry_After="1")  # as every 503 of the service


def test_analyze_sends_what_the_contract_says(connect: Connect, flaky: FlakyServer) -> None:
    client = connect()
    assert client.analyze("굿 😀") == Verdict("굿 😀", "긍정", 0.75, None, False, MODEL_TAG)
    verdict = client.analyze("굿", probabilities=True, truncate=True, fresh=True, request_id="mine-1")
    assert verdict.probabilities == {"부정": 0.25, "긍정": 0.75}
    plain, full = flaky.asked
    assert plain.body == {"text": "굿 😀"}
    assert full.body == {"text": "굿", "return_probabilities": True, "truncate": True}
    assert plain.headers["Content-Type"] == "application/json"
    assert "Cache-Control" not in plain.headers
    assert "Authorization" not in plain.headers
    assert len(plain.headers["X-Request-ID"]) == 32
    assert (full.headers["Cache-Control"], full.headers["X-Request-ID"]) == ("no-cache", "mine-1")


def test_for_whom_it_asks(connect: Connect, flaky: FlakyServer) -> None:
    client = connect(client_id="shop")
    client.analyze("굿")
    client.analyze("굿", client_id="kim")
    client.batch(["굿"], client_id="lee")
    list(client.analyze_all(["굿"]))
    connect().analyze("굿")
    assert [asked.headers.get("X-Client-ID") for asked in flaky.asked] == ["shop", "kim", "lee", "shop", None]


@pytest.mark.parametrize("client_id", ["", "김", "a b", "x" * 129, "kim\r\nX-Other: 1"])
def test_for_whom_no_header_can_say(connect: Connect, client_id: str) -> None:
    with pytest.raises(ValueError, match="client_id must be 1 to 128 visible characters of ASCII"):
        connect(client_id=client_id)
    with pytest.raises(ValueError, match="client_id must be"):
        connect().analyze("굿", client_id=client_id)
    with pytest.raises(ValueError, match="client_id must be"):
        connect().correct("부정", text="굿", client_id=client_id)


def test_batch_keeps_the_order(connect: Connect, flaky: FlakyServer) -> None:
    texts = ["하나", "둘", "셋"]
    verdicts = connect().batch(texts, probabilities=True)
    assert [verdict.text for verdict in verdicts] == texts
    assert {verdict.model_tag for verdict in verdicts} == {MODEL_TAG}
    assert flaky.asked[0].body == {"texts": texts, "return_probabilities": True}


@pytest.mark.parametrize(
    ("named", "sent", "kept"),
    [
        ({"text": "굿 😀"}, {"text": "굿 😀"}, Correction("부정", DIGEST, False)),
        (
            {"text": "굿", "keep_text": True},
            {"text": "굿", "keep_text": True},
            Correction("부정", DIGEST, True),
        ),
        ({"text_digest": "ab" * 32}, {"text_digest": "ab" * 32}, Correction("부정", "ab" * 32, False)),
        ({"request_id": "r-1"}, {"request_id": "r-1"}, Correction("부정", None, False)),
        ({"request_id": "r-1", "index": 2}, {"request_id": "r-1", "index": 2}, Correction("부정", None, False)),
    ],
)
def test_a_correction_names_one_review(
    connect: Connect, flaky: FlakyServer, named: dict[str, Any], sent: dict[str, Any], kept: Correction
) -> None:
    assert connect().correct("부정", **named) == kept
    (asked,) = flaky.asked
    assert asked.path.endswith("/feedback")
    assert asked.body == {"label": "부정"} | sent
    assert asked.headers["Content-Type"] == "application/json"
    assert len(asked.headers["X-Request-ID"]) == 32, "an id of its own, not that of the request it is about"


def test_a_verdict_says_what_a_correction_is_to_name(connect: Connect, flaky: FlakyServer) -> None:
    client = connect()
    verdict = client.analyze("굿", request_id="mine-1")
    assert (verdict.request_id, verdict.index) == ("mine-1", 0)
    made_up = client.analyze("굿")
    assert made_up.request_id == flaky.ids()[-1]
    assert made_up == verdict, "they say the same"
    texts = ["하나", "둘", "셋"]
    found = client.batch(texts, request_id="mine-2")
    assert [(verdict.request_id, verdict.index) for verdict in found] == [("mine-2", index) for index in range(3)]
    found = list(client.analyze_all(texts, batch_size=2, request_id="mine"))
    named = [(verdict.request_id, verdict.index) for verdict in found]
    assert named == [("mine-0", 0), ("mine-0", 1), ("mine-1", 0)], "its place in its own request"


def test_a_verdict_has_the_id_that_the_service_logged(connect: Connect, flaky: FlakyServer) -> None:
    reply = json_reply({"data": {"text": "굿", "sentiment": "긍정", "score": 1}})
    for header, expected in (("gateway-1", "gateway-1"), ("no id", "mine-1")):
        flaky.script.append(Reply(200, {**reply.headers, "X-Request-ID": header}, reply.body))
        assert connect().analyze("굿", request_id="mine-1").request_id == expected


def test_a_correction_is_retried_as_it_was(connect: Connect, flaky: FlakyServer) -> None:
    flaky.script += [OVERLOADED, Reply(reset=True), Reply(502)]
    assert connect().correct("긍정", text="굿").label == "긍정"
    assert len(flaky.asked) == 4
    assert len(set(flaky.ids())) == 1
    assert [asked.body for asked in flaky.asked] == [{"label": "긍정", "text": "굿"}] * 4


def test_a_service_that_keeps_no_corrections_is_not_asked_again(connect: Connect, flaky: FlakyServer) -> None:
    flaky.always = NO_JOURNAL
    with pytest.raises(CorrectionNotKept, match="503: T: JOURNAL_FOLDER is not set") as caught:
        connect().correct("부정", text=TELLTALE, keep_text=True)
    error = caught.value
    assert (error.status, error.request_id, error.retry_after_s) == (503, "logged-1", 1.0)
    assert error.type == "urn:nsmc-sentiment:problem:no-journal"
    assert "given up" not in str(error)
    assert TELLTALE not in str(error)
    assert len(flaky.asked) == 1


CORRECTION = {"label": "부정", "text_digest": None, "text_kept": False}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (json_reply({"data": CORRECTION}), "status 200"),
        (json_reply({}, 202), "data is missing"),
        (json_reply({"data": CORRECTION | {"label": "긍정"}}, 202), "another label"),
        (json_reply({"data": CORRECTION | {"label": None}}, 202), "label is missing"),
        (json_reply({"data": CORRECTION | {"text_digest": 1}}, 202), "text_digest is missing or no str"),
        (json_reply({"data": CORRECTION | {"text_kept": "no"}}, 202), "text_kept is missing or no bool"),
    ],
)
def test_a_correction_is_answered_as_the_contract_says(
    connect: Connect, flaky: FlakyServer, reply: Reply, said: str
) -> None:
    flaky.script.append(reply)
    with pytest.raises(UnexpectedAnswer, match=said):
        connect().correct("부정", request_id="r-1")
    assert len(flaky.asked) == 1


def test_health_and_model_info(connect: Connect, flaky: FlakyServer) -> None:
    client = connect()
    health = client.health()
    assert (health.status, health.timestamp) == ("healthy", datetime(2024, 12, 15, 10, 30, tzinfo=UTC))
    info = client.model_info(request_id="who")
    assert (info.model_name, info.test_accuracy, info.mlflow_version, info.engine) == ("tiny", 0.875, None, None)
    unhealthy = {"status": "unhealthy", "model_loaded": False, "redis_connected": False, "timestamp": "2024-12-15"}
    flaky.script.append(json_reply(unhealthy, 503))
    assert not client.health().model_loaded
    assert flaky.paths() == ["/health", "/model-info", "/health"]
    assert flaky.ids()[1] == "who"


def test_a_base_address_may_have_a_path(connect: Connect, flaky: FlakyServer) -> None:
    for base in (f"{flaky.url}/", f"{flaky.url}/gateway", f"{flaky.url}/gateway/"):
        flaky.script.append(json_reply({"data": {"text": "굿", "sentiment": "긍정", "score": 1}}))
        connect(base).analyze("굿")
    ends = "/api/v1/sentiment/analyze"
    assert [asked.path for asked in flaky.asked] == [ends, f"/gateway{ends}", f"/gateway{ends}"]


def test_a_passing_failure_is_retried_with_the_same_id(connect: Connect, flaky: FlakyServer) -> None:
    client = connect(retries=RetryPolicy(max_attempts=6, first_wait_s=0.01, longest_wait_s=0.02))
    flaky.script += [OVERLOADED, Reply(reset=True), Reply(502), Reply(504), problem("quota", 429, "D")]
    assert client.analyze("굿", request_id="same").score == 0.75
    assert flaky.ids() == ["same"] * 6
    client.analyze("굿")
    client.analyze("굿")
    assert len(set(flaky.ids())) == 3


def test_retry_after_is_honoured(connect: Connect, flaky: FlakyServer) -> None:
    client = connect()
    flaky.script.append(Reply(503, {"Retry-After": "1"}))
    started = time.monotonic()
    client.analyze("굿")
    assert time.monotonic() - started >= 1.0


def test_a_service_that_asks_for_more_time_than_there_is_ends_the_call_at_once(
    connect: Connect, flaky: FlakyServer
) -> None:
    client = connect(timeout_s=2.0)
    flaky.script.append(problem("overloaded", 503, "the queue is full", Retry_After="60"))
    started = time.monotonic()
    with pytest.raises(Overloaded, match="the queue is full") as caught:
        client.analyze(TELLTALE)
    assert time.monotonic() - started < 1.0
    assert (caught.value.retry_after_s, caught.value.status, caught.value.request_id) == (60.0, 503, "logged-1")
    assert len(flaky.asked) == 1


def test_retry_after_may_be_a_date(connect: Connect, flaky: FlakyServer) -> None:
    then = datetime(2099, 1, 1, tzinfo=UTC)
    headers = {"Retry-After": format_datetime(then, usegmt=True)}
    flaky.script += [
        Reply(503, headers),
        Reply(503, headers | {"Date": format_datetime(then - timedelta(seconds=90), usegmt=True)}),
    ]
    for most in (float("inf"), 90.0):
        with pytest.raises(ServiceUnavailable) as caught:
            connect().analyze("굿")
        assert caught.value.retry_after_s is not None
        assert 90.0 <= caught.value.retry_after_s <= most
    assert len(flaky.asked) == 2


def test_a_broken_service_is_not_hammered(connect: Connect, flaky: FlakyServer) -> None:
    client = connect(retries=RetryPolicy(first_wait_s=0.0, longest_wait_s=0.0, budget_ratio=0.1, budget_reserve=5))
    flaky.always = GONE
    for _ in range(50):
        with pytest.raises(ServiceUnavailable) as caught:
            client.analyze("굿")
    assert 50 + 5 <= len(flaky.asked) <= 50 + 5 + 5
    assert "the retry budget is spent" in str(caught.value)
    assert not isinstance(caught.value, Overloaded)
    assert caught.value.type.endswith(":no-model")


def test_the_deadline_covers_all_attempts(connect: Connect, flaky: FlakyServer) -> None:
    client = connect(timeout_s=0.9)
    flaky.script += [Reply(503, delay_s=0.4), Reply(delay_s=5.0)]
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.9 s \(request mine-1\)"):
        client.analyze(TELLTALE, request_id="mine-1")
    assert 0.85 < time.monotonic() - started < 1.25, "each attempt alone would have had 0.9 s"
    assert len(flaky.asked) == 2
    flaky.wait(left=1)


def test_an_answer_that_drips_in_is_late(connect: Connect, flaky: FlakyServer) -> None:
    client = connect(timeout_s=0.3)
    flaky.script.append(Reply(200, {"Content-Type": "application/json"}, b"[" * 1_000, drip_s=0.02))
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        client.analyze("굿")
    assert time.monotonic() - started < 5.0, "it would have taken 20 s"
    flaky.wait(left=1)


def test_nobody_listens(connect: Connect, free_port: int) -> None:
    client = connect(f"http://127.0.0.1:{free_port}", retries=RetryPolicy(max_attempts=2, first_wait_s=0.0))
    with pytest.raises(ConnectionFailed, match="after 2 attempts") as caught:
        client.analyze(TELLTALE)
    assert TELLTALE not in str(caught.value)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(reset=True),
        Reply(raw=b""),
        Reply(raw=b"SSH-2.0-OpenSSH_9.6\r\n"),
        Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Type: application/json\r\n\r\n{"),
    ],
)
def test_a_connection_that_breaks_is_retried_and_then_said(connect: Connect, flaky: FlakyServer, reply: Reply) -> None:
    client = connect()
    flaky.script.append(reply)
    client.analyze("굿")
    assert len(flaky.asked) == 2
    flaky.always = reply
    with pytest.raises(ConnectionFailed) as caught:
        client.analyze(TELLTALE)
    assert len(flaky.asked) == 2 + QUICK.max_attempts
    assert TELLTALE not in repr(caught.value)


VERDICT = {"text": TELLTALE, "sentiment": "긍정", "score": 0.75}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(200, {"Content-Type": "application/json"}, b"{"), "cannot be read"),
        (Reply(200, {"Content-Type": "application/json"}, b'"\xff"'), "cannot be read"),
        (Reply(200, {"Content-Type": "application/json"}, b"[" * 100_000), "cannot be read"),
        (Reply(200, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"no gzip"), "cannot be decoded"),
        (json_reply([]), "no JSON object"),
        (json_reply({}), "data is missing"),
        (json_reply({"data": VERDICT | {"text": "다른 리뷰"}}), "about another text"),
        (json_reply({"data": VERDICT | {"sentiment": TELLTALE}}), "sentiment is none of"),
        (json_reply({"data": VERDICT | {"score": "0.75"}}), "score is missing or no number"),
        (json_reply({"data": VERDICT | {"score": float("nan")}}), "score is missing or no number"),
        (json_reply({"data": VERDICT | {"score": True}}), "score is missing or no number"),
        (json_reply({"data": VERDICT | {"probabilities": {"긍정": 2}}}), "긍정 is missing or no number"),
        (Reply(200, {"Content-Type": "text/html"}, TELLTALE.encode()), "media type 'text/html'"),
        (Reply(302, {"Location": "http://127.0.0.1:1/"}), "status 302"),
        (Reply(404, {"Content-Type": "text/html"}, TELLTALE.encode()), "is the base address the service's"),
        (Reply(422, {"Content-Type": "application/problem+json"}, b"{"), "status 422"),
        (Reply(422, {"Content-Type": "application/problem+json"}, b"[]"), "status 422"),
    ],
)
def test_what_is_not_in_the_contract_is_unexpected(
    connect: Connect, flaky: FlakyServer, reply: Reply, said: str
) -> None:
    flaky.script.append(reply)
    with pytest.raises(UnexpectedAnswer, match=said) as caught:
        connect().analyze(TELLTALE, request_id="mine-1")
    assert str(caught.value).endswith("(request mine-1)")
    assert TELLTALE not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert len(flaky.asked) == 1


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_has_a_verdict_for_each_review(connect: Connect, flaky: FlakyServer, count: int) -> None:
    flaky.script.append(json_reply({"data": {"results": [VERDICT] * count}}))
    with pytest.raises(UnexpectedAnswer, match=f"{count} verdicts for 2 reviews"):
        connect().batch([TELLTALE, TELLTALE])


def test_a_rejected_request_says_why_and_is_not_retried(connect: Connect, flaky: FlakyServer) -> None:
    detail = "text is 730 tokens long; at most 512 are allowed"
    flaky.script.append(problem("text-too-long", 422, detail, field="texts[1]"))
    with pytest.raises(
        RequestRejected, match=r"422: T: text is 730 tokens .* \(in texts\[1\]\) \(request logged-1\)"
    ) as c:
        connect().batch(["굿", TELLTALE])
    error = c.value
    assert (error.status, error.title, error.detail, error.field, error.index) == (422, "T", detail, "texts[1]", 1)
    assert error.type == "urn:nsmc-sentiment:problem:text-too-long"
    assert len(flaky.asked) == 1


def test_a_service_that_fails_inside_is_not_retried(connect: Connect, flaky: FlakyServer) -> None:
    flaky.script.append(problem("internal-error", 500, "the error was logged under this request id"))
    with pytest.raises(ServiceUnavailable, match="500: T: the error was logged") as caught:
        connect().analyze("굿")
    assert (caught.value.status, caught.value.retry_after_s) == (500, None)
    assert len(flaky.asked) == 1


def test_a_quota_is_overload(connect: Connect, flaky: FlakyServer) -> None:
    flaky.always = Reply(429, {"Retry-After": "100"})
    with pytest.raises(Overloaded) as caught:
        connect().analyze("굿")
    assert (caught.value.retry_after_s, caught.value.status) == (100.0, 429)


def test_the_key_is_sent_and_shown_nowhere(
    connect: Connect, flaky: FlakyServer, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(api_key=KEY)
    flaky.script += [OVERLOADED, problem("unauthorized", 401, "the key is not known")]
    with caplog.at_level(logging.DEBUG), pytest.raises(RequestRejected) as caught:
        client.analyze(TELLTALE)
    assert flaky.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert "goes on in" in caplog.text
    shown = caplog.text + repr(client) + repr(caught.value) + repr(vars(client))
    assert flaky.url in shown
    assert KEY not in shown
    assert TELLTALE not in shown


@pytest.mark.parametrize(
    ("base_url", "options", "said"),
    [
        ("localhost:3000", {}, "http://"),
        ("ftp://localhost", {}, "http://"),
        ("http://", {}, "host"),
        ("http://a:b", {}, "no address"),
        (f"http://user:{KEY}@localhost", {}, "no user"),
        (f"http://localhost?key={KEY}", {}, "no query"),
        ("http://localhost", {"api_key": f"{KEY}\r\nX: y"}, "api_key must be"),
        ("http://localhost", {"api_key": f"{KEY}열쇠"}, "api_key must be"),
        ("http://localhost", {"api_key": ""}, "api_key must be"),
        ("http://localhost", {"timeout_s": 0}, "timeout_s is 0"),
        ("http://localhost", {"timeout_s": float("inf")}, "timeout_s is inf"),
        ("http://localhost", {"connect_timeout_s": -1.0}, "connect_timeout_s is -1.0"),
    ],
)
@pytest.mark.parametrize("kind", [SentimentClient, AsyncSentimentClient])
def test_wrong_settings_are_refused_when_given(kind: Any, base_url: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        kind(base_url, **options)
    assert KEY not in str(caught.value)


def test_wrong_arguments_are_refused_before_anything_is_sent(connect: Connect, flaky: FlakyServer) -> None:
    client: Any = connect()
    with pytest.raises(TypeError, match="text is a int"):
        client.analyze(1)
    with pytest.raises(TypeError, match="texts is a str"):
        client.batch(TELLTALE)
    with pytest.raises(TypeError, match="texts is a str"):
        client.analyze_all(TELLTALE)
    with pytest.raises(TypeError, match="text 1 is a float"):
        client.batch(["굿", float("nan")])
    with pytest.raises(ValueError, match="request_id"):
        client.analyze("굿", request_id="two words")
    for arguments in ({}, {"text": TELLTALE, "request_id": "r"}, {"text": TELLTALE, "text_digest": "d"}):
        with pytest.raises(ValueError, match="exactly one of text, text_digest and request_id"):
            client.correct("부정", **arguments)
    with pytest.raises(ValueError, match="index is that of a review within request_id"):
        client.correct("부정", text=TELLTALE, index=1)
    with pytest.raises(ValueError, match="keep_text needs text"):
        client.correct("부정", request_id="r", keep_text=True)
    for label in ("중립", TELLTALE):
        with pytest.raises(ValueError, match=r"^label must be one of 부정, 긍정$"):
            client.correct(label, text="굿")
    with pytest.raises(TypeError, match="text_digest is a bytes"):
        client.correct("부정", text_digest=b"ab")
    for wrong in ({"batch_size": 0}, {"concurrency": 0}, {"concurrency": 101}, {"request_id": "x" * 127}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            client.analyze_all(["굿"], **wrong)
    assert not flaky.asked


def test_a_connection_is_used_again(flaky: FlakyServer) -> None:
    with SentimentClient(flaky.url) as client:
        for _ in range(5):
            client.analyze("굿")
        assert flaky.opened == 1


def test_threads_share_a_client(flaky: FlakyServer) -> None:
    barrier = threading.Barrier(8)

    def ask(number: int) -> str:
        barrier.wait(5)
        return client.analyze(f"리뷰 {number}").text

    with SentimentClient(flaky.url) as client, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [f"리뷰 {number}" for number in range(8)]


def test_a_closed_client_says_so(flaky: FlakyServer) -> None:
    client = SentimentClient(flaky.url)
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.analyze("굿")


@pytest.mark.parametrize(
    "error",
    [
        RequestRejected("M", request_id="r", status=422, type="t", title="T", detail="D", field="text", index=3),
        Overloaded("M", request_id="r", status=503, type="t", retry_after_s=2.0),
        CorrectionNotKept("M", request_id="r", status=503, type="t", retry_after_s=1.0),
        DeadlineExceeded("M", request_id="r"),
    ],
)
def test_errors_and_verdicts_cross_processes(error: SentimentError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(copy) is type(error)
    assert str(copy) == "M (request r)"
    assert vars(copy) == vars(error)
    verdict = Verdict("굿", "긍정", 0.75, {"긍정": 0.75})
    assert pickle.loads(pickle.dumps(verdict)) == verdict  # noqa: S301
    assert len({verdict, verdict}) == 1
    correction = Correction("부정", DIGEST, True)
    assert pickle.loads(pickle.dumps(correction)) == correction  # noqa: S301


def test_lone_surrogates_are_the_services_to_judge(connect: Connect, flaky: FlakyServer) -> None:
    flaky.script.append(problem("invalid-text", 422, "not Unicode", field="texts[1]"))
    with pytest.raises(RequestRejected):
        connect().batch(["굿", "\ud800"])
    assert json.dumps(flaky.asked[0].body["texts"]) == r'["\uad7f", "\ud800"]'


def test_a_cancelled_call_hangs_up(flaky: FlakyServer) -> None:
    async def leave() -> None:
        async with AsyncSentimentClient(flaky.url) as client:
            task = asyncio.create_task(client.analyze("굿"))
            await asyncio.to_thread(flaky.wait, asked=1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(flaky.wait, left=1)

    flaky.always = Reply(delay_s=30.0)
    asyncio.run(leave())
