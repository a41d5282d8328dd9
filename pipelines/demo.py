"""The whole way on the own sample: ``python -m pipelines.demo``.

Runs the real DAG with the profile ``demo`` in a working copy, serves the Bento that comes out, and asks it over HTTP.
"""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines import artifacts, workspace
from pipelines.errors import PipelineError
from pipelines.serve import STORE_FOLDER, command, environment
from pipelines.stage import run

FOLDER = Path("workspaces") / "demo"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0
PREFIX = "/api/v1/sentiment"
REVIEWS = (
    "정말 최고의 영화였어요! 연기도 훌륭하고 여운이 남네요 ㅠㅠ",
    "시간 낭비였습니다. 돈이 아까워요",
    "꿀잼 ㅋㅋㅋ 강추합니다",
    "노잼... 졸다가 나옴",
    "그냥 그래요.",
)


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the Bento of workspace ``folder`` on a free port; yields its base address once it is ready."""
    port = free_port()
    log = folder / "serve.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command(folder, port), env=environment(folder), stdout=output, stderr=subprocess.STDOUT
        )
    base = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(base, server, log)
        yield base
    finally:
        stop(server)


def stop(server: subprocess.Popen[bytes]) -> None:
    """End a server: politely, and where that does not help, at once."""
    server.terminate()
    try:
        server.wait(timeout=STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def call(url: str, body: Any = None) -> Any:
    """One REST call: POST with a body, else GET; returns the JSON answer."""
    request = urllib.request.Request(url, headers={"Content-Type": "application/json"})  # noqa: S310 - loopback
    if body is not None:
        request.data = json.dumps(body, ensure_ascii=False).encode()
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - loopback
        return json.load(response)


def _wait_until_ready(base: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{base}/readyz", timeout=1):  # noqa: S310 - loopback
                return
        except OSError:
            time.sleep(0.1)
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
    raise PipelineError(f"the server was not ready after {START_LIMIT_S:.0f} s; its log ends with\n{tail}")


def _reproduce(folder: Path) -> None:
    # the demo is embedded: its stores lie in its folder, whatever the surrounding environment names
    (folder / STORE_FOLDER).mkdir(exist_ok=True)
    outside = ("MLFLOW_TRACKING_URI", "NSMC_SOURCE")
    variables = {key: value for key, value in environment(folder).items() if key not in outside}
    done = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=folder, env=variables, check=False)
    if done.returncode:
        raise PipelineError(f"dvc repro ended with {done.returncode}; see its output above")


def _show(title: str, answer: Any) -> None:
    print(f"\n{title}\n{json.dumps(answer, ensure_ascii=False, indent=2)}")


def main() -> None:
    """Make the workspace, run the DAG, serve, ask, say how to go on."""
    started = time.monotonic()
    workspace.make("demo", FOLDER)
    _reproduce(FOLDER)
    report = artifacts.read_json(FOLDER / artifacts.EVALUATION_REPORT)
    splits = artifacts.read_json(FOLDER / artifacts.DATA_REPORT)["splits"]
    learned, judged = splits["train"]["rows"], splits["test"]["rows"]
    package = artifacts.read_json(FOLDER / artifacts.PACKAGE)
    print(f"\nServing {package['bento_tag']} …")
    with serving(FOLDER) as base:
        _show("GET /health", call(f"{base}{PREFIX}/health"))
        _show("GET /model-info", call(f"{base}{PREFIX}/model-info"))
        _show("POST /analyze", call(f"{base}{PREFIX}/analyze", {"text": REVIEWS[0], "return_probabilities": True}))
        _show("POST /batch", call(f"{base}{PREFIX}/batch", {"texts": list(REVIEWS)}))
    print(
        f"""
Done in {time.monotonic() - started:.0f} s. 데모가 끝났습니다.

The model started from the embedded weights (data/backbone, which NSMC taught) and learned {learned} more reviews in
seconds. On the {judged} of the sample's test it scored {report["test"]["accuracy"]:.1%}, and a linear model of the
same {learned} reviews {report["baseline"]["accuracy"]:.1%}. The sample is small and was written for this project:
data/sample/README.md says what its figures do not mean.
내장 가중치(data/backbone, NSMC로 학습)에서 시작해 리뷰 {learned}개를 더 학습했습니다.
표본이 작으므로 정확도는 참고용입니다.

  make serve WORKSPACE={FOLDER}   serve this Bento / 이 모델을 서비스로 실행
  make ui WORKSPACE={FOLDER}      compare its runs in MLflow / MLflow에서 실험 비교
  make repro PROFILE=compact-crawl       train on NSMC and its crawl, without the hub / 허브 없이 학습
  make repro                             fine-tune KoELECTRA base v3 / 미세 조정"""
    )


if __name__ == "__main__":
    run(main)
