"""The Bento that the pipeline built, served by a real process and asked over HTTP."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from data.bundle import FULL, GOLDEN_TOLERANCES, Bundle
from data.encode import Encoder
from data.labels import NeutralBand, Verdict
from data.nsmc import read
from data.probability import Calibration
from data.text import clean
from pipelines import artifacts
from pipelines.demo import PREFIX, call, free_port, serving, stop
from pipelines.serve import command, environment
from pipelines.votes import read as read_votes
from serving.engine.choose import Wanted
from serving.model import Model
from tests.e2e.conftest import Workspace
from tests.redis_server import RedisServer, redis_server
from training import model as models
from training.predict import logits

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
WORKERS_START_S = 60.0
ODD = [
    "<b>정말</b> 재미있어요 &amp; 감동",
    "ㅋㅋㅋㅋㅋㅋ",
    "😭😭👍",
    "재미없지 않다",
    "R&D <3",
    "a" * 500,
    "쀍뿳",
    "!!!!",
]


PLAIN = {
    "긍정": (
        "연기도 좋고 이야기도 탄탄해서 시간 가는 줄 몰랐어요.",
        "올해 본 영화 중 최고입니다. 꼭 보세요!",
        "배우들 연기가 정말 훌륭하다",
        "가족과 함께 보기 좋은 따뜻한 영화",
        "ost가 아직도 귓가에 맴돈다. 또 보고 싶다",
    ),
    "부정": (
        "돈이 아깝다. 환불받고 싶다.",
        "이야기는 지루하고 연기는 어색하다.",
        "노잼... 졸다가 나왔어요",
        "이런 영화를 왜 만들었는지 모르겠다",
        "감독은 반성해야 한다. 최악의 영화",
    ),
}


@pytest.fixture(scope="session")
def reviews(root: Path) -> list[str]:
    return [review.text for review in read(root / "data" / "sample" / "ratings_test.txt")] + ODD


def test_the_demo_judges_plain_reviews_sensibly(service: str) -> None:
    """It starts from the embedded weights: what no sample of 450 reviews could teach."""
    for label, texts in PLAIN.items():
        body = {"texts": list(texts), "return_probabilities": True}
        answer = call(f"{service}{PREFIX}/batch", body)["data"]["results"]
        assert all(result["probabilities"][label] > 0.6 for result in answer), answer


def test_the_service_answers_what_the_trained_model_says(
    reproduced: Workspace, service: str, reviews: list[str]
) -> None:
    answer = call(f"{service}{PREFIX}/batch", {"texts": reviews, "return_probabilities": True})["data"]["results"]
    assert [result["text"] for result in answer] == reviews
    found = np.array([result["probabilities"]["긍정"] for result in answer])

    texts = [clean(text) for text in reviews]
    bundle, precision = reproduced.folder / artifacts.BUNDLE, call(f"{service}{PREFIX}/model-info")["precision"]
    exported = Model.load(bundle, "exported", wanted=Wanted("onnxruntime", "cpu", precision)).positive_of(texts)
    band, tolerance = NeutralBand(0.4, 0.6), 2e-4 if precision == FULL else GOLDEN_TOLERANCES[precision]
    assert np.abs(found - exported).max() < tolerance
    for result, positive in zip(answer, found.tolist(), strict=True):
        if min(abs(positive - edge) for edge in (band.low, band.high)) > 1e-4:  # rounded in the answer
            assert result["sentiment"] == Verdict.of(positive, band).sentiment

    model = models.load(reproduced.folder / artifacts.MODEL)
    encoder = Encoder.from_file(reproduced.folder / artifacts.MODEL, 512)
    fitted = json.loads((reproduced.folder / artifacts.CALIBRATION).read_text())
    of_model = logits(model, encoder.encode(texts), encoder.pad_id)
    trained = Calibration(fitted["temperature"], fitted["bias"]).positive(of_model)
    assert np.abs(found - trained).mean() < 0.01
    assert ((found >= 0.5) != (trained >= 0.5)).mean() <= 0.01
    assert trained.std() > 0.1, "the model tells the reviews apart by far more than the tolerance"


def test_alone_and_in_a_batch_alike(service: str, reviews: list[str]) -> None:
    together = call(f"{service}{PREFIX}/batch", {"texts": reviews[:40]})["data"]["results"]
    for text, expected in zip(reviews[:40], together, strict=True):
        alone = call(f"{service}{PREFIX}/analyze", {"text": text})["data"]
        assert not alone["cached"]
        assert (alone["sentiment"], alone["score"]) == (expected["sentiment"], expected["score"])


def test_health_model_info_and_native_route(reproduced: Workspace, service: str) -> None:
    package = json.loads((reproduced.folder / artifacts.PACKAGE).read_text())
    health = call(f"{service}{PREFIX}/health")
    assert (health["status"], health["model_loaded"], health["redis_connected"]) == ("healthy", True, False)
    info = call(f"{service}{PREFIX}/model-info")
    assert info["model_tag"] == package["model_tag"]
    assert (info["model_name"], info["mlflow_version"]) == ("compact-electra", "1")
    report = json.loads((reproduced.folder / artifacts.EVALUATION_REPORT).read_text())
    exported = json.loads((reproduced.folder / artifacts.EXPORT_REPORT).read_text())
    assert info["test_accuracy"] == exported["exported_accuracy"] == report["test"]["accuracy"]
    choice = info["engine_choice"]
    tried = {(trial["engine"], trial["precision"]): trial["reviews_per_s"] for trial in choice["trials"]}
    assert tried[info["engine"], info["precision"]] > 0.0
    graphs = Bundle.open(reproduced.folder / artifacts.BUNDLE).manifest.graphs
    assert set(tried) == {("onnxruntime-cpu", precision) for precision in graphs}
    assert choice["degraded"] is None
    assert choice["batch_tokens"] >= 64
    (native,) = call(f"{service}/predict", {"texts": ["최고"]})
    routed = call(f"{service}{PREFIX}/analyze", {"text": "최고"})["data"]
    assert native["sentiment"] == routed["sentiment"]
    assert native["score"] == pytest.approx(routed["score"], abs=1e-4)


def status_of(url: str, body: bytes, media_type: str = "application/json") -> int:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": media_type})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def status_of_get(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_bad_requests_through_the_whole_server(service: str) -> None:
    analyze = f"{service}{PREFIX}/analyze"
    assert status_of(analyze, b"{") == 400
    assert status_of(analyze, b'{"text": ""}') == 422
    assert status_of(analyze, b'{"text": "' + b"a" * 2_000_000 + b'"}') == 413
    assert status_of(analyze, b"text", "text/plain") == 415
    assert status_of(f"{service}/predict", b'{"texts": []}') == 400
    assert status_of(f"{service}/infer", b'{"rows": [[2, 3]]}') == 404, "token ids are no public interface"


def metric(service: str, name: str, **labels: str) -> float:
    """A sample of the service's metrics; 0 where there is none yet."""
    with urllib.request.urlopen(f"{service}/metrics", timeout=10) as response:
        families = list(text_string_to_metric_families(response.read().decode()))
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def test_singles_and_batches_share_one_adaptive_batcher(service: str) -> None:
    def ask(number: int) -> Any:
        if number % 8 == 0:
            return call(f"{service}{PREFIX}/batch", {"texts": [f"묶음 {number} {n}" for n in range(8)]})
        return call(f"{service}{PREFIX}/analyze", {"text": f"하나 {number}"})

    def counts() -> tuple[float, float]:
        return metric(service, "sentiment_batch_rows_count"), metric(service, "sentiment_batch_rows_sum")

    (batches_before, rows_before), route = counts(), f"{PREFIX}/analyze"
    requests_before = metric(service, "sentiment_requests_total", route=route, status="200")
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(ask, range(400)))
    batches_after, rows_after = counts()
    assert all(answer["status"] == "success" for answer in answers)
    assert rows_after - rows_before == 350 + 50 * 8
    assert batches_after - batches_before < 300, "requests that wait together run together"
    assert metric(service, "sentiment_requests_total", route=route, status="200") - requests_before == 350
    assert metric(service, "sentiment_queue_tokens") == 0


def test_a_thousand_at_once_for_one_text_cause_one_inference(service: str) -> None:
    """Without a cache: whoever comes while the text is on its way waits for the same answer."""
    before = metric(service, "sentiment_batch_rows_sum"), metric(service, "sentiment_cache_total", level="in_flight")
    text = "한 번만 추론됩니다 " + "정말 재미있어요 " * 60
    with ThreadPoolExecutor(64) as pool:
        scores = list(pool.map(lambda _: call(f"{service}{PREFIX}/batch", {"texts": [text] * 16}), range(64)))
    assert len({result["score"] for answer in scores for result in answer["data"]["results"]}) == 1
    inferred = metric(service, "sentiment_batch_rows_sum") - before[0]
    shared = metric(service, "sentiment_cache_total", level="in_flight") - before[1]
    assert inferred + shared == 64
    assert inferred < 64


def test_a_list_as_a_stream(service: str, reviews: list[str]) -> None:
    body = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in reviews).encode()
    headers = {"Content-Type": "application/x-ndjson"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{service}{PREFIX}/stream", body, headers), timeout=60
    ) as response:
        *results, totals = [json.loads(line) for line in response]
    together = call(f"{service}{PREFIX}/batch", {"texts": reviews})["data"]["results"]
    assert totals["total_count"] == len(reviews) == len(results)
    assert [(r["sentiment"], r["score"]) for r in results] == [(r["sentiment"], r["score"]) for r in together]


# From here on, tests start servers of their own, which wipes the metrics of others on the same BENTOML_HOME.


def test_no_log_holds_a_text_whatever_was_wrong_with_it(reproduced: Workspace) -> None:
    telltale = "비밀스러운리뷰"
    with serving(reproduced.folder) as base:
        for path, body in (
            ("/predict", {"texts": telltale}),
            ("/predict", {"texts": [telltale, 7]}),
            ("/predict", {"texts": [f"{telltale} ! ! " * 300]}),
            ("/predict", {telltale: 1}),
            (f"{PREFIX}/analyze", {"text": [telltale]}),
            (f"{PREFIX}/analyze", {telltale: telltale}),
            (f"{PREFIX}/batch", {"texts": [telltale, "<br>"]}),
        ):
            assert status_of(base + path, json.dumps(body, ensure_ascii=False).encode()) in (400, 422)
        assert status_of(f"{base}{PREFIX}/analyze", json.dumps({"text": telltale}).encode()) == 200
        with urllib.request.urlopen(f"{base}/metrics", timeout=10) as response:
            assert telltale not in response.read().decode()
    log = (reproduced.folder / "serve.log").read_text()
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    (refused, *_) = [event for event in events if event["message"].startswith("Exception on /predict")]
    assert (refused["level"], refused["error"]) == ("error", "ValidationError")
    assert refused["request_id"]
    (ready,) = [event for event in events if event["message"].startswith("ready after ")]
    assert {"import_s", "model_s", "warm_up_s"} <= ready.keys()
    answered = [(event["route"], event["status"]) for event in events if event["message"] == "answered"]
    assert (f"{PREFIX}/analyze", 200) in answered
    assert len(answered) == 8
    assert "비밀" not in log
    assert json.dumps("비밀").strip('"') not in log


def test_redis_keeps_answers_beyond_the_process_and_no_text(
    reproduced: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = RedisServer(tmp_path)
    monkeypatch.setenv("REDIS_URL", redis.url)
    monkeypatch.setenv("PRECISION", "int8")  # answers are kept by precision
    text = "비밀스러운 리뷰입니다 정말 재미있어요"
    with serving(reproduced.folder) as base:
        first = call(f"{base}{PREFIX}/analyze", {"text": text})["data"]
        assert call(f"{base}{PREFIX}/health")["redis_connected"] is True
    with redis.client() as client:
        keys = [bytes(key) for key in client.scan_iter()]
        (key,) = [key for key in keys if not key.startswith(b"nsmc:rollout:")]
        assert re.fullmatch(rb"[0-9a-f]{64}", key)
        assert set(json.loads(client.get(key))) == {"positive"}  # type: ignore[arg-type]
    with serving(reproduced.folder) as base:
        second = call(f"{base}{PREFIX}/analyze", {"text": text})["data"]
        assert (first["cached"], second["cached"]) == (False, True)
        assert second["score"] == first["score"]
        redis.stop()
        assert call(f"{base}{PREFIX}/analyze", {"text": "다른 리뷰"})["status"] == "success"
        health = call(f"{base}{PREFIX}/health")
        assert (health["status"], health["redis_connected"]) == ("degraded", False)
    log = (reproduced.folder / "serve.log").read_text()
    assert "the engine is the one chosen before" in log
    assert "Redis failed" in log
    assert "비밀" not in log


def all_ready(base: str, workers: int) -> None:
    """Wait until that many answer; a service is ready as soon as one is."""
    until = time.monotonic() + WORKERS_START_S
    while f"sentiment_ready {workers}.0" not in urllib.request.urlopen(f"{base}/metrics", timeout=10).read().decode():
        assert time.monotonic() < until
        time.sleep(0.2)


def test_corrections_name_requests_of_any_worker(
    reproduced: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of one worker, corrected at another, collected from the folder of both; no text but the one to be kept."""
    monkeypatch.setenv("JOURNAL_FOLDER", str(tmp_path / "journal"))
    monkeypatch.setenv("WORKERS", "2")
    private, public = "비밀스러운 리뷰", "이건 <b>남겨도</b> 됩니다"
    with serving(reproduced.folder) as base:
        all_ready(base, 2)

        def ask(number: int) -> str:
            body = json.dumps({"texts": [f"{private} {number}", "남의 리뷰"]}).encode()
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{base}{PREFIX}/batch", body, headers)
            with urllib.request.urlopen(request, timeout=10) as answer:
                return str(answer.headers["X-Request-ID"])

        def correct(request_id: str) -> None:
            call(f"{base}{PREFIX}/feedback", {"label": "부정", "request_id": request_id})

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(correct, pool.map(ask, range(20))))
        kept = call(f"{base}{PREFIX}/feedback", {"label": "긍정", "text": public, "keep_text": True})
    assert kept["data"]["text_kept"]
    (tmp_path / "reviews.csv").write_text("text\n" + "".join(f"{private} {number}\n" for number in range(10)))
    said = subprocess.run(
        [
            *(sys.executable, "-m", "pipelines.feedback", tmp_path / "votes.parquet"),
            *("--journal", tmp_path / "journal", "--texts", tmp_path / "reviews.csv"),
        ],
        cwd=reproduced.folder, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "21 corrections: 21 votes on 21 reviews, of which 11 have their text" in said
    votes = {each.text: each.vote.label for each in read_votes(tmp_path / "votes.parquet")}
    assert votes["이건 남겨도 됩니다"] == 1
    assert votes[f"{private} 3"] == 0
    assert len(list((tmp_path / "journal").glob("writer-*.lock"))) == 2, "a worker each"
    log = (reproduced.folder / "serve.log").read_text()
    journals = [path.read_text() for path in (tmp_path / "journal").glob("*.ndjson")]
    assert not any("비밀" in content for content in (log, *journals))


def test_keys_are_in_force_on_all_workers_within_seconds(
    reproduced: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYS_FILE", str(tmp_path / "keys.json"))
    monkeypatch.setenv("ACCESS", "keys")
    monkeypatch.setenv("WORKERS", "2")

    def keys(*arguments: str) -> str:
        line = [sys.executable, "-m", "serving.access", *arguments]
        return subprocess.run(line, cwd=reproduced.folder, check=True, capture_output=True, text=True).stdout.strip()

    with serving(reproduced.folder) as base:
        all_ready(base, 2)

        def status(reads: str) -> int:
            request = urllib.request.Request(f"{base}{PREFIX}/model-info", headers={"Authorization": f"Bearer {reads}"})
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code

        def agreed(reads: str, wanted: int) -> float:
            """After how long so many requests, each of a connection of its own, all end so."""
            began = time.monotonic()
            with ThreadPoolExecutor(8) as pool:
                while set(pool.map(status, [reads] * 40)) != {wanted}:
                    assert time.monotonic() - began < 5.0
            return time.monotonic() - began

        reads = keys("create", "backend")
        agreed(reads, 200)
        successor = keys("create", "backend")
        agreed(successor, 200)
        keys("revoke", reads.split("_")[1])
        agreed(reads, 401)
        assert status(successor) == 200
        (tmp_path / "keys.json").write_text("not what it was")
        time.sleep(2.5)
        assert (status(successor), status(reads)) == (200, 401), "what cannot be read changes nothing"
    log = (reproduced.folder / "serve.log").read_text()
    assert "KEYS_FILE cannot be read" in log
    assert not any(each.split("_", 2)[2] in log for each in (reads, successor))


async def test_a_quota_is_exact_on_two_workers(
    reproduced: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 requests at once, of which 100 are within the quota."""
    with redis_server(tmp_path) as redis:
        monkeypatch.setenv("REDIS_URL", redis.url)
        monkeypatch.setenv("REDIS_TIMEOUT_MS", "5000")  # all at once on a busy machine, and none is to be counted alone
        monkeypatch.setenv("QUOTA_ADDRESS_TEXTS", "100")
        monkeypatch.setenv("WORKERS", "2")
        with serving(reproduced.folder) as base:
            all_ready(base, 2)
            async with httpx.AsyncClient(timeout=60.0, limits=httpx.Limits(max_connections=1_000)) as client:
                asked = (client.post(f"{base}{PREFIX}/analyze", json={"text": "리뷰"}) for _ in range(1_000))
                answers = await asyncio.gather(*asked)
            assert Counter(answer.status_code for answer in answers) == {200: 100, 429: 900}
            refused = next(answer for answer in answers if answer.status_code == 429)
            assert int(refused.headers["Retry-After"]) >= 1
            assert metric(base, "sentiment_answers_total") == 100
        with redis.client() as client_of_redis:
            assert not [key for key in client_of_redis.scan_iter("nsmc:quota:*") if not client_of_redis.ttl(key) > 0]


def test_what_anybody_reaches_does_not_start_without_keys(
    reproduced: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYS_FILE", str(tmp_path / "keys.json"))
    port, log = free_port(), tmp_path / "log"
    line = command(reproduced.folder, port, "0.0.0.0")  # noqa: S104 - that is what is tried
    with log.open("wb") as output:
        server = subprocess.Popen(line, env=environment(reproduced.folder), stdout=output, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 60
        while "there are no keys" not in log.read_text() and time.monotonic() < until:
            time.sleep(0.1)
        assert f"the service listens on 0.0.0.0:{port}, where other machines reach it" in log.read_text()
        with pytest.raises(OSError, match=r"refused|reset|timed out|503"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2)
    finally:
        stop(server)


def test_sigterm_is_told_first_and_loses_nothing(reproduced: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not ready at once, but still answering; then what is in flight is finished, and the server is gone."""
    monkeypatch.setenv("DRAIN_S", "1.5")
    with serving(reproduced.folder) as base:
        living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
        (server,) = [child for child in living if base.rpartition(":")[2] in child.cmdline()]
        texts = [f"리뷰 {number} " + "정말 재미있어요 " * 15 for number in range(900)]
        with ThreadPoolExecutor(2) as pool:
            answer = pool.submit(call, f"{base}{PREFIX}/batch", {"texts": texts})
            time.sleep(0.1)
            server.send_signal(signal.SIGTERM)
            signalled = time.monotonic()
            while status_of_get(f"{base}/readyz") == 200:
                assert time.monotonic() - signalled < 1.0
                time.sleep(0.01)
            late = 0
            while time.monotonic() - signalled < 1.2:
                assert call(f"{base}{PREFIX}/analyze", {"text": f"늦은 리뷰 {late}"})["status"] == "success"
                late += 1
            assert answer.result(timeout=30)["data"]["total_count"] == 900
        assert late > 1
        server.wait(timeout=30)


def test_gpus_that_are_missing_leave_workers_that_answer_on_the_cpu(
    reproduced: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUS", "2")
    with serving(reproduced.folder) as base:
        deadline = time.monotonic() + 60
        while metric(base, "sentiment_ready") < 2:
            assert time.monotonic() < deadline, "a worker for each GPU"
            time.sleep(0.2)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: call(f"{base}{PREFIX}/analyze", {"text": f"리뷰 {n}"}), range(40)))
        assert all(answer["status"] == "success" for answer in answers)
        assert metric(base, "sentiment_answers_total") == 40, "of both workers"
        assert call(f"{base}{PREFIX}/health")["status"] == "degraded"
        info = call(f"{base}{PREFIX}/model-info")
        assert info["engine"] == "onnxruntime-cpu"
        assert "cuda cannot be had here" in info["engine_choice"]["degraded"]
