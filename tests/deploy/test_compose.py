"""deploy/compose.yaml fits its schema and the service's settings, and the balancer does what it is there for."""

import importlib.resources
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.container.generate import BENTO_UID_GID
from jsonschema import Draft202012Validator

from pipelines.demo import free_port
from serving.access import __main__ as access
from serving.access.redis_store import RedisKeys
from serving.access.store import FileKeys
from serving.app import OPEN
from serving.settings import Settings

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
EXAMPLE = (DEPLOY / ".env.example").read_text(encoding="utf-8")
BALANCER = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
PASSWORDS = dict.fromkeys(("REDIS_PASSWORD", "POSTGRES_PASSWORD", "S3_SECRET_KEY", "GRAFANA_PASSWORD"), "secret")
PROVIDED = {"BENTOML_HOME", "XDG_CACHE_HOME", "FORWARDED_ALLOW_IPS"}
"""Variables of libraries; test_kubernetes.py holds them against those."""
BENTOFILE = yaml.safe_load((ROOT / "bentofile.yaml").read_text(encoding="utf-8"))
IMAGE = {variable["name"]: variable["value"] for variable in BENTOFILE["envs"]}
FIXED = {"MODEL_STORE"}
"""Settings that are the image's to say: compose would overwrite them, even with nothing."""
SETTINGS = {name.upper() for name in Settings.model_fields} - FIXED
REPLICAS = ("sentiment", "sentiment-gpu")
_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?:(:[-?])((?:[^{}]|\$\{[^{}]*\})*))?\}")


class Missing(Exception):
    """Compose would not start."""


def filled(text: str, environment: dict[str, str]) -> str:
    """Compose's interpolation, as far as it is used here."""

    def value(match: re.Match[str]) -> str:
        name, how, rest = match.groups()
        if name is None:
            return "$"
        if found := environment.get(name):
            return found
        if how == ":?":
            raise Missing(f"{name}: {rest}")
        assert how == ":-", match.group()
        return filled(rest, environment)

    return _VARIABLE.sub(value, text)


def compose(**environment: str) -> dict[str, Any]:
    """The file as compose reads it: what is interpolated stays a string."""

    def walked(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: walked(value) for key, value in node.items()}
        if isinstance(node, list):
            return [walked(value) for value in node]
        return filled(node, PASSWORDS | environment) if isinstance(node, str) else node

    return dict(walked(yaml.safe_load(TEXT)))


def example() -> dict[str, tuple[bool, str]]:
    """Of each variable of .env.example whether it must be there, and the value shown."""
    found = re.findall(r"^(#?)([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE, re.MULTILINE)
    assert len({name for _, name, _ in found}) == len(found)
    return {name: (mark == "", value) for mark, name, value in found}


def replica(monkeypatch: pytest.MonkeyPatch, service: str, **environment: str) -> Settings:
    """The settings that a replica would start with."""
    variables = compose(**environment)["services"][service]["environment"]
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    return Settings.from_environment()


def seconds(duration: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(ms|s|m)", duration).groups()  # type: ignore[union-attr]
    return float(number) * {"ms": 0.001, "s": 1.0, "m": 60.0}[unit]


def option(name: str) -> str:
    """A line of the balancer's configuration."""
    (found,) = re.findall(rf"^\s+{name} (.+)$", BALANCER, re.MULTILINE)
    return str(found)


def haproxy() -> str:
    found = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        raise FileNotFoundError("haproxy is not there; Debian and Ubuntu have it: apt-get install haproxy")
    return found


def test_it_fits_the_published_schema() -> None:
    folder = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((folder / "compose-spec.json").read_text(encoding="utf-8"))
    validator = Draft202012Validator(schema)
    assert [(list(error.path), error.message) for error in validator.iter_errors(compose())] == []
    wrong = compose()
    wrong["services"]["redis"]["imagine"] = "redis"
    assert not validator.is_valid(wrong)


@pytest.mark.parametrize("name", PASSWORDS)
def test_it_does_not_start_without_a_password(name: str) -> None:
    with pytest.raises(Missing, match=name):
        compose(**{name: ""})


def test_the_example_names_what_there_is_with_its_defaults() -> None:
    shown = example()
    used = {match.group(1) for match in _VARIABLE.finditer(TEXT) if match.group(1)}
    used |= set(re.findall(r"\$\{(\w+)", TEXT)) | {"COMPOSE_PROFILES"}
    assert set(shown) == used
    assert used >= SETTINGS
    must = {name for name, (given, _) in shown.items() if given}
    assert must == {*PASSWORDS, "COMPOSE_PROFILES"}
    assert all(shown[name][1] == "" for name in PASSWORDS)
    for name, (_, value) in shown.items():
        defaults = {default for default in re.findall(rf"\$\{{{name}:-([^${{}}]*)\}}", TEXT) if default}
        if name not in SETTINGS:
            assert not defaults or defaults == {value}, (name, defaults)
        elif defaults:  # the line shows the service's own
            above = EXAMPLE[: EXAMPLE.index(f"\n#{name}=")].splitlines()[-1]
            assert all(f" {default} by itself" in above for default in defaults), name


def test_each_setting_of_the_example_is_the_services_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (_, value) in example().items():
        if name in SETTINGS:
            monkeypatch.setenv(name, value)
    assert Settings.from_environment() == Settings.model_construct(
        **{name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
    )


def test_each_variable_is_explained_in_both_languages() -> None:
    lines = EXAMPLE.splitlines()
    for number, line in enumerate(lines):
        if re.match(r"#?[A-Z][A-Z0-9_]*=", line):
            above = lines[number - 1]
            assert above.startswith("# "), line
            assert re.search("[가-힣].* / .*[A-Za-z]", above), line


@pytest.mark.parametrize("service", REPLICAS)
def test_replicas_have_each_setting_and_no_other(service: str) -> None:
    variables = compose()["services"][service]["environment"]
    assert set(variables) == SETTINGS | PROVIDED


def test_replicas_start_with_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replica(monkeypatch, "sentiment", THREADS="3", MAX_TEXTS="7")
    assert (settings.threads, settings.max_texts, settings.drain_s) == (3, 7, 5.0)
    assert replica(monkeypatch, "sentiment").threads == 0
    assert settings.redis_url == "redis://:secret@redis:6379/0"


def test_a_replica_with_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replica(monkeypatch, "sentiment-gpu", GPUS="2")
    assert (settings.gpus, settings.device) == (2, "cuda")
    reserved = compose(GPUS="2")["services"]["sentiment-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert [(each["driver"], each["count"], each["capabilities"]) for each in reserved] == [("nvidia", "2", ["gpu"])]


@pytest.mark.parametrize("service", REPLICAS)
def test_callers_need_keys_which_are_in_redis(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replica(monkeypatch, service)
    assert settings.access == "keys"  # by itself a replica does not start before there is a key
    assert isinstance(settings.keys(), RedisKeys)
    assert replica(monkeypatch, service, ACCESS="open").access == "open"
    assert isinstance(replica(monkeypatch, service, KEYS_FILE="/keys/keys.json").keys(), FileKeys)
    # keys have no lifetime
    (command,) = compose()["services"]["redis"]["command"]
    assert re.findall(r"--maxmemory-policy (\S+)", command) == ["volatile-lru"]
    # nobody who watches has a key
    for asked in (compose()["services"][service]["healthcheck"]["test"][-1], BALANCER):
        assert "/readyz" in asked
    assert {"/readyz", "/metrics"} <= OPEN


@pytest.mark.parametrize(
    "file", ["deploy/compose.yaml", "deploy/.env.example", "deploy/README.md", "docs/deployment.md"]
)
def test_operators_are_told_how_to_make_keys(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    told = re.findall(r"(.*)python -m serving\.access (create [^#\n]+?)\s*(?:#.*)?$", text, re.MULTILINE)
    assert told
    for number, (where, command) in enumerate(told):
        monkeypatch.setenv("KEYS_FILE", str(tmp_path / f"{number}.json"))
        monkeypatch.setattr("sys.argv", ["serving.access", *command.split()])
        assert access.main() == 0, command
        assert (
            "compose.yaml exec sentiment " in where
            or "exec deploy/nsmc-sentiment -- " in where
            or "KEYS_FILE=" in where
        )
    # from whatever folder, as with serving.rollout
    assert IMAGE["PYTHONPATH"] == "/home/bentoml/bento/src"
    assert any(pattern.startswith("serving/**") for pattern in BENTOFILE["include"])


@pytest.mark.parametrize("service", REPLICAS)
def test_models_are_mounted_where_the_image_looks_for_them(service: str) -> None:
    assert set(IMAGE) >= FIXED
    where = IMAGE["MODEL_STORE"]
    assert compose()["services"][service]["volumes"][0] == f"models:{where}:ro"
    assert compose(MODELS="/srv/models")["services"][service]["volumes"][0] == f"/srv/models:{where}:ro"
    # for whoever fills in MODELS
    assert re.search(rf"^# .*MODEL_STORE\b.*{where}\b.*\n# .*\n#MODELS=", EXAMPLE, re.MULTILINE)


@pytest.mark.parametrize("service", REPLICAS)
def test_a_journal_is_kept_where_it_is_asked_for(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert replica(monkeypatch, service).journal_folder is None
    assert compose()["services"][service]["volumes"][1:] == ["journal:/journal"]  # to be written to
    assert compose(JOURNAL="/srv/journal")["services"][service]["volumes"][1:] == ["/srv/journal:/journal"]
    # what whoever turns it on is told to set leads there
    (where,) = re.findall(r"^# .*\bJOURNAL_FOLDER=(\S+), .*\n# .*\n#JOURNAL=", EXAMPLE, re.MULTILINE)
    assert where == "/journal"
    settings = replica(monkeypatch, service, JOURNAL_FOLDER=where, JOURNAL_MIB="3")
    assert (settings.journal_folder, settings.journal_mib) == (Path(where), 3)


@pytest.mark.parametrize("file", ["deploy/compose.yaml", "docs/deployment.md"])
def test_the_journals_folder_is_given_to_the_images_user(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    told = re.findall(r"--entrypoint chown (?:\\\n\s*#\s*)?(\S+) (\S+) (\S+)$", text, re.MULTILINE)
    assert told == [("sentiment", f"{BENTO_UID_GID}:{BENTO_UID_GID}", "/journal")]
    assert f" {BENTO_UID_GID}," in EXAMPLE


def test_what_is_published_is_the_balancer_and_loopback() -> None:
    published = {name: service["ports"] for name, service in compose()["services"].items() if "ports" in service}
    assert set(published) == {"balancer", "mlflow", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    everywhere = compose(PUBLISH_ADDRESS="0.0.0.0")["services"]  # noqa: S104 - what a user might say
    assert everywhere["balancer"]["ports"] == ["0.0.0.0:8080:8080"]
    assert everywhere["grafana"]["ports"] == published["grafana"]


def test_images_are_pinned_and_what_runs_is_watched_and_bounded() -> None:
    described = compose()
    for name, service in described["services"].items():
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory", "pids"} <= set(limits), name
        assert "no-new-privileges:true" in service["security_opt"], name
        own = service["image"].startswith("nsmc-sentiment")
        assert own or re.search(r":v?\d+\.\d+", service["image"]), service["image"]
        assert service["restart"] == "unless-stopped", name
        assert "test" in service["healthcheck"], name
    for name in (*REPLICAS, "balancer", "redis", "mlflow", "prometheus", "grafana"):
        assert described["services"][name]["read_only"] is True
        assert described["services"][name]["cap_drop"] == ["ALL"]
    named = {mount.split(":")[0] for mount in mounts(described) if not mount.startswith(".")}
    assert named == set(described["volumes"])


def mounts(described: dict[str, Any]) -> list[str]:
    found = [mount for service in described["services"].values() for mount in service.get("volumes", [])]
    return [mount if isinstance(mount, str) else f"{mount['source']}:{mount['target']}" for mount in found]


def test_what_is_mounted_from_here_is_here() -> None:
    described = compose()
    sources = [DEPLOY / mount.split(":")[0] for mount in mounts(described) if mount.startswith(".")]
    sources += [DEPLOY / config["file"] for config in described["configs"].values() if "file" in config]
    assert len(sources) > 3
    for source in sources:
        assert source.exists(), source
    json.loads(described["configs"]["s3"]["content"])


def test_what_is_waited_for_tells_when_it_is_there() -> None:
    services = compose()["services"]
    for name, service in services.items():
        for other, wanted in service.get("depends_on", {}).items():
            assert wanted["condition"] == "service_healthy", (name, other)
            apart = set(services[other].get("profiles", [])) - set(service.get("profiles", []))
            assert not apart or wanted["required"] is False, (name, other)


def test_prometheus_and_the_balancer_look_for_a_name_that_there_is() -> None:
    described = compose()
    for name in REPLICAS:
        assert described["services"][name]["networks"]["inner"]["aliases"] == ["sentiment"]
    for name in ("balancer", "prometheus"):
        assert "inner" in described["services"][name]["networks"]
        assert "egress" not in described["services"][name]["networks"]
    port = BentoMLContainer.http.port.get()
    assert re.search(rf"^\s+server-template \S+ 1-16 sentiment:{port} ", BALANCER, re.MULTILINE)
    prometheus = yaml.safe_load((DEPLOY / "monitoring" / "prometheus.yaml").read_text(encoding="utf-8"))
    (found,) = [
        each for job in prometheus["scrape_configs"] for each in job["dns_sd_configs"] if each["names"] == ["sentiment"]
    ]
    assert found["port"] == port
    for name in REPLICAS:
        assert f"http://127.0.0.1:{port}/readyz" in described["services"][name]["healthcheck"]["test"][-1]


def test_mlflow_is_the_pipelines_version() -> None:
    built = compose()["services"]["mlflow"]
    (version,) = re.findall(
        r"mlflow==(\S+)", (ROOT / "requirements" / "train.txt").read_text(encoding="utf-8").split("mlflow-skinny")[0]
    )
    assert built["image"] == f"nsmc-mlflow:{version}"
    assert f"mlflow=={version} " in built["build"]["dockerfile_inline"]


def test_times_fit_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replica(monkeypatch, "sentiment")
    grace = compose()["services"]["sentiment"]["stop_grace_period"]
    assert seconds(grace) > settings.drain_s + settings.timeout_s
    (longest,) = [each.le for each in Settings.model_fields["timeout_s"].metadata if hasattr(each, "le")]
    assert min(seconds(option("timeout client")), seconds(option("timeout server"))) > longest
    server = option("default-server").split()
    interval, failures = seconds(server[server.index("inter") + 1]), int(server[server.index("fall") + 1])
    assert settings.drain_s > interval * failures + seconds(option("timeout check"))


def test_only_what_nobody_saw_is_tried_again() -> None:
    assert option("retry-on") == "conn-failure"
    assert option("option redispatch") == "1"


def test_the_balancer_accepts_its_configuration() -> None:
    done = subprocess.run([haproxy(), "-c", "-f", str(DEPLOY / "haproxy.cfg")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()


class Replica(ThreadingHTTPServer):
    """Something that answers like a replica: on /readyz, and with what it heard."""

    daemon_threads = True

    def __init__(self) -> None:
        self.ready, self.heard = True, 0
        super().__init__(("127.0.0.1", 0), Answer)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: the balancer ends its probes as it likes."""


class Answer(BaseHTTPRequestHandler):
    """See Replica."""

    protocol_version = "HTTP/1.1"
    server: Replica

    def do_GET(self) -> None:
        if self.path == "/readyz":
            status, content = (200 if self.server.ready else 503), b""
        else:
            self.server.heard += 1
            status = 503 if self.path == "/full" else 200
            content = json.dumps(dict(self.headers)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def balanced(folder: Path, lost: str = "") -> Iterator[tuple[str, str, list[Replica]]]:
    """The balancer in front of two replicas: its public address, the one for those inside, and the replicas.

    ``lost`` is a server more that nobody watches.
    """
    replicas = [Replica(), Replica()]
    threads = [threading.Thread(target=each.serve_forever, args=(0.05,)) for each in replicas]
    for thread in threads:
        thread.start()
    public, inside = free_port(), free_port()
    servers = "\n".join(f"    server r{n} 127.0.0.1:{each.server_port} check" for n, each in enumerate(replicas)) + lost
    config = re.sub(r"^\s+server-template .*$", servers, BALANCER, flags=re.MULTILINE)
    config = config.replace("bind :8080", f"bind 127.0.0.1:{public}").replace("bind :8404", f"bind 127.0.0.1:{inside}")
    file = folder / "haproxy.cfg"
    file.write_text(config.replace("inter 1s", "inter 100ms"), encoding="utf-8")
    process = subprocess.Popen(
        [haproxy(), "-db", "-f", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: httpx.get(f"http://127.0.0.1:{inside}/healthz").status_code == 200)
        yield f"http://127.0.0.1:{public}", f"http://127.0.0.1:{inside}", replicas
    finally:
        process.terminate()
        process.wait(10)
        for each in replicas:
            each.shutdown()
            each.server_close()
        for thread in threads:
            thread.join()


def until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            if condition():
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_requests_go_to_who_is_ready_and_say_where_they_came_from(tmp_path: Path) -> None:
    with balanced(tmp_path) as (public, inside, replicas), httpx.Client(base_url=public) as client:
        for _ in range(10):
            headers = client.get("/", headers={"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "x"}).json()
            forwarded = {name.lower(): value for name, value in headers.items()}
            assert forwarded["x-forwarded-for"] == "127.0.0.1"
            assert forwarded["x-forwarded-proto"] == "http"
        assert all(each.heard for each in replicas)
        for path in ("/metrics", "/readyz", "/livez"):
            assert client.get(path).status_code == 404

        # one stops: it is not asked any more, and no caller notices
        replicas[0].ready = False
        time.sleep(1.0)
        before = replicas[0].heard
        assert {client.get("/").status_code for _ in range(10)} == {200}
        assert replicas[0].heard == before

        # a queue that is full is the caller's to hear, once
        before = replicas[1].heard
        assert client.get("/full").status_code == 503
        assert replicas[1].heard == before + 1

        replicas[1].ready = False
        until(lambda: httpx.get(f"{inside}/healthz").status_code == 503)
        assert b"haproxy_backend_status" in httpx.get(f"{inside}/metrics").content


def test_a_connection_that_fails_is_tried_elsewhere(tmp_path: Path) -> None:
    lost = f"\n    server lost 127.0.0.1:{free_port()} no-check"
    with balanced(tmp_path, lost) as (public, _, replicas), httpx.Client(base_url=public) as client:
        assert {client.get("/").status_code for _ in range(12)} == {200}
        assert sum(each.heard for each in replicas) == 12
