"""What deploy/kubernetes says is what the service is: ports, paths, metrics, settings; and it fits its schemas."""

import re
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from bentoml._internal.configuration.containers import BentoMLContainer
from prometheus_client import CollectorRegistry

from pipelines import artifacts, launch, profile
from pipelines.registry import URI_VARIABLE
from serving import page
from serving.access.redis_store import RedisKeys
from serving.access.store import FileKeys
from serving.app import OPEN, PROBES, paths
from serving.settings import Settings
from serving.telemetry.metrics import Metrics
from tests.deploy.prometheus import selectors, tool

ROOT = Path(__file__).parent.parent.parent
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("overlays/cpu", "overlays/gpu", "overlays/argo")
ADDED = ("components/tracing", "components/journal", "components/keys")
"""Which no overlay here has: an overlay of one's own adds them."""
SERVING = (*OVERLAYS, *(f"{overlay} {component}" for overlay in OVERLAYS for component in ADDED))
"""Folders, each put upon those before it."""
TRAINING = ("training", "training-nodes")
ENTRANCES = (*SERVING, "models", *TRAINING)
UNREFERENCED = {"adapter/values.yaml", "training/Dockerfile"}
"""For helm, and for docker."""
VERSIONS = ("1.31", "1.33", "1.35")
EXTENSIONS = {"Rollout", "AnalysisTemplate", "HTTPRoute", "PodMonitor"}
"""Kinds of which no schema is at hand (deploy/README.md says how they were checked)."""
LIBRARIES = {"BENTOML_HOME", "XDG_CACHE_HOME", "FORWARDED_ALLOW_IPS"}
SECRET = {"REDIS_URL": "redis://:x@redis:6379/0", "REDIS_PASSWORD": "x"}
MADE_BY_HAND = {"nsmc-sentiment", "keys"}
"""Secrets that docs/deployment.md and deploy/README.md say how to make."""
POD_LABELS = {"rollouts_pod_template_hash", "namespace", "pod"}
"""What Prometheus adds to a pod's metrics."""
Objects = dict[tuple[str, str], dict[str, Any]]


def files(folder: Path) -> Iterator[tuple[str, Path]]:
    """What a kustomization refers to, by how."""
    described = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    for how in ("resources", "components"):
        for name in described.get(how, []):
            yield how, folder / name
    for patch in described.get("patches", []):
        yield "patches", folder / patch["path"]
    for generator in described.get("configMapGenerator", []):
        for name in generator["files"]:
            yield "generated", folder / name


def documents(file: Path) -> list[Any]:
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def merged(base: Any, patch: Any) -> Any:
    """A strategic merge, as far as it is used here: lists of what has a name go together by it."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return base | {key: merged(base[key], value) if key in base else value for key, value in patch.items()}
    named = isinstance(patch, list) and all(isinstance(each, dict) and "name" in each for each in patch)
    if isinstance(base, list) and named:
        mine = {each["name"]: each for each in base}
        mine |= {each["name"]: merged(mine[each["name"]], each) if each["name"] in mine else each for each in patch}
        return list(mine.values())
    return patch


def added(base: dict[str, Any], path: str, value: Any) -> None:
    """JSON patch's ``add`` at the end of a list."""
    *way, last = path.strip("/").split("/")
    assert last == "-"
    place: Any = base
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    place.append(value)


def built(folder: Path, objects: Objects | None = None) -> Objects:
    """What ``kubectl kustomize`` would print, but for labels and the tags of images."""
    objects = {} if objects is None else objects
    described = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    for how, file in files(folder):
        if how in ("resources", "components"):
            if file.is_dir():
                built(file, objects)
                continue
            for document in documents(file):
                key = document["kind"], document["metadata"]["name"]
                assert key not in objects, f"{file} has {key} once more"
                objects[key] = deepcopy(document)
        elif how == "generated":
            for generator in described["configMapGenerator"]:
                data = {name: (folder / name).read_text(encoding="utf-8") for name in generator["files"]}
                name = generator["name"]
                objects["ConfigMap", name] = {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": name},
                    "data": data,
                }
    for patch in described.get("patches", []):
        for document in documents(folder / patch["path"]):
            if "target" in patch:
                target = objects[patch["target"]["kind"], patch["target"]["name"]]
                for step in document:
                    assert step["op"] == "add"
                    added(target, step["path"], step["value"])
            else:
                key = document["kind"], document["metadata"]["name"]
                assert key in objects, f"{folder}: a patch for {key}, which is not there"
                objects[key] = merged(objects[key], document)
    return objects


def rendered(entrance: str) -> Objects:
    """What the folders of an entrance are together."""
    objects: Objects = {}
    for folder in entrance.split():
        built(KUBERNETES / folder, objects)
    return objects


def pod_of(thing: dict[str, Any]) -> dict[str, Any]:
    return dict(thing["spec"]["template"]["spec"])


def pods(objects: Objects) -> dict[str, dict[str, Any]]:
    found = {
        name: pod_of(thing) for (kind, name), thing in objects.items() if kind in ("Deployment", "StatefulSet", "Job")
    }
    return found | {name: thing["spec"] for (kind, name), thing in objects.items() if kind == "Pod"}


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def the_service(objects: Objects) -> dict[str, Any]:
    (container,) = pod_of(objects["Deployment", "nsmc-sentiment"])["containers"]
    return dict(container)


def settings_of(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As a replica would read them."""
    container = the_service(objects)
    environment = dict(objects["ConfigMap", "settings"]["data"])
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        if "secretKeyRef" in source:
            assert source["secretKeyRef"]["name"] == "nsmc-sentiment"
            environment[variable["name"]] = SECRET[source["secretKeyRef"]["key"]]
        else:
            environment[variable["name"]] = variable["value"]
    known = {name.upper() for name in Settings.model_fields}
    assert set(environment) <= known | LIBRARIES, set(environment) - known - LIBRARIES
    for name, value in environment.items():
        assert isinstance(value, str)
        monkeypatch.setenv(name, value)
    return Settings.from_environment()


def expressions() -> list[str]:
    """All PromQL here, with something in the place of what is filled in."""
    found = []
    for document in documents(KUBERNETES / "components" / "argo" / "analysis.yaml"):
        providers = [metric["provider"] for metric in document["spec"]["metrics"]]
        found += [each["prometheus"]["query"] for each in providers if "prometheus" in each]
    for rule in documents(KUBERNETES / "adapter" / "values.yaml")[0]["rules"]["custom"]:
        series = rule["seriesQuery"].partition("{")[0]
        query = rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.LabelMatchers>>", 'pod="a"')
        found += [rule["seriesQuery"], query.replace("<<.GroupBy>>", "pod")]
    return [each.replace("{{args.version}}", "abc") for each in found]


def test_every_file_is_used_and_every_reference_is_there() -> None:
    used = {KUBERNETES / name for name in UNREFERENCED}
    for kustomization in KUBERNETES.rglob("kustomization.yaml"):
        used.add(kustomization)
        for _, file in files(kustomization.parent):
            assert file.exists(), f"{kustomization} names {file}, which is not there"
            if file.is_file():
                used.add(file.resolve())
    assert used == {file for file in KUBERNETES.rglob("*") if file.is_file()}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("version", VERSIONS)
def test_objects_fit_the_published_schemas(entrance: str, version: str) -> None:
    kinds = set()
    for (kind, _), thing in rendered(entrance).items():
        if kind in EXTENSIONS:
            continue
        kubernetes_validate.validate(thing, version, strict=True)
        kinds.add(kind)
    assert kinds


def test_a_wrong_object_does_not_fit() -> None:
    service = built(KUBERNETES / "overlays/cpu")["Service", "nsmc-sentiment"]
    service["spec"]["selectors"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("entrance", SERVING)
def test_settings_are_the_services(entrance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = rendered(entrance)
    settings = settings_of(objects, monkeypatch)
    assert settings.workers == 1
    limits = the_service(objects)["resources"]["limits"]
    assert settings.gpus == int(limits.get("nvidia.com/gpu", 0))
    assert settings.device == ("cuda" if settings.gpus else "cpu")
    # as many as the limit says, which the service finds out by itself
    assert settings.threads == 0
    assert "cpu" in limits
    # the image's to say
    assert settings.model_store is None


def test_variables_of_libraries_are_read_by_them() -> None:
    import uvicorn.config
    from bentoml._internal.configuration import containers as configuration

    from serving.engine import remembered

    readers = {"BENTOML_HOME": configuration, "XDG_CACHE_HOME": remembered, "FORWARDED_ALLOW_IPS": uvicorn.config}
    assert set(readers) == LIBRARIES
    for name, module in readers.items():
        assert f'"{name}"' in Path(str(module.__file__)).read_text(encoding="utf-8")


@pytest.mark.parametrize("entrance", SERVING)
def test_ports_and_paths_are_the_services(entrance: str) -> None:
    objects = rendered(entrance)
    container = the_service(objects)
    assert [port["containerPort"] for port in container["ports"]] == [BentoMLContainer.http.port.get()]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in PROBES
        assert container[probe]["httpGet"]["port"] == "http"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    for endpoint in objects["PodMonitor", "nsmc-sentiment"]["spec"]["podMetricsEndpoints"]:
        assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    reachable = paths() | set(page.ASSETS)
    for rule in objects["HTTPRoute", "nsmc-sentiment"]["spec"]["rules"]:
        for match in rule["matches"]:
            value = match["path"]["value"]
            if match["path"]["type"] == "Exact":
                assert value in reachable, value
            else:
                assert any(path.startswith(f"{value}/") for path in reachable), value


def test_what_is_for_those_inside_has_no_route() -> None:
    rules = built(KUBERNETES / "overlays/cpu")["HTTPRoute", "nsmc-sentiment"]["spec"]["rules"]
    open_paths = {match["path"]["value"] for rule in rules for match in rule["matches"]}
    assert not open_paths & set(PROBES)
    assert not any("rollout" in path for path in open_paths)
    assert "/api/v1/sentiment" not in open_paths
    # for callers that you know, which an overlay says
    feedback = "/api/v1/sentiment/feedback"
    assert feedback in paths()
    assert feedback not in open_paths


@pytest.mark.parametrize("entrance", SERVING)
def test_a_replica_has_time_to_stop(entrance: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = rendered(entrance)
    settings = settings_of(objects, monkeypatch)
    deployment = objects["Deployment", "nsmc-sentiment"]
    assert pod_of(deployment)["terminationGracePeriodSeconds"] > settings.drain_s + settings.timeout_s
    readiness = the_service(objects)["readinessProbe"]
    assert settings.drain_s > readiness["periodSeconds"] * readiness["failureThreshold"]
    for rule in objects["HTTPRoute", "nsmc-sentiment"]["spec"]["rules"]:
        limit = float(rule.get("timeouts", {"request": "0s"})["request"].removesuffix("s"))
        assert limit == 0 or limit > settings.timeout_s


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_what_is_named_is_there(entrance: str) -> None:
    before = {"training-nodes": "training", "models": "overlays/cpu"}
    objects = rendered(f"{before.get(entrance, '')} {entrance}")
    for name, pod in pods(objects).items():
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        claimed = {
            claim["metadata"]["name"]
            for claim in objects.get(("StatefulSet", name), {"spec": {}})["spec"].get("volumeClaimTemplates", [])
        }
        if "serviceAccountName" in pod:
            assert ("ServiceAccount", pod["serviceAccountName"]) in objects
        for volume in volumes.values():
            if "secret" in volume:
                assert volume["secret"]["secretName"] in MADE_BY_HAND
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in objects
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in objects
        for container in containers(pod):
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= set(volumes) | claimed
            for source in container.get("envFrom", []):
                assert ("ConfigMap", source["configMapRef"]["name"]) in objects
            for variable in container.get("env", []):
                secret = variable.get("valueFrom", {}).get("secretKeyRef")
                assert secret is None or (secret["name"] in MADE_BY_HAND and secret["key"] in SECRET)
    templates = [
        thing["spec"]["template"]
        for (kind, _), thing in objects.items()
        if kind in ("Deployment", "StatefulSet", "Job")
    ]
    for (kind, name), thing in objects.items():
        spec = thing.get("spec", {})
        wanted = {
            "Service": lambda s: s["selector"],
            "PodDisruptionBudget": lambda s: s["selector"]["matchLabels"],
            "NetworkPolicy": lambda s: s["podSelector"]["matchLabels"],
            "PodMonitor": lambda s: s["selector"]["matchLabels"],
        }.get(kind)
        if wanted is None or "batch.kubernetes.io/job-name" in wanted(spec):  # a label that the cluster gives
            continue
        chosen = [each for each in templates if wanted(spec).items() <= each["metadata"]["labels"].items()]
        assert len(chosen) == 1, (kind, name)
        named = {port["name"] for each in chosen[0]["spec"]["containers"] for port in each.get("ports", [])}
        if kind == "Service":
            assert {port["targetPort"] for port in spec["ports"]} <= named
    for rule in objects.get(("HTTPRoute", "nsmc-sentiment"), {"spec": {"rules": []}})["spec"]["rules"]:
        for backend in rule["backendRefs"]:
            assert backend["port"] in {each["port"] for each in objects["Service", backend["name"]]["spec"]["ports"]}


@pytest.mark.parametrize("entrance", SERVING)
def test_the_autoscaler_asks_for_what_the_adapter_gives(entrance: str) -> None:
    objects = rendered(entrance)
    spec = objects["HorizontalPodAutoscaler", "nsmc-sentiment"]["spec"]
    target = spec["scaleTargetRef"]
    assert (target["kind"], target["name"]) in objects
    assert target["apiVersion"] == objects[target["kind"], target["name"]]["apiVersion"]
    assert target["kind"] == ("Rollout" if entrance.startswith("overlays/argo") else "Deployment")
    rules = documents(KUBERNETES / "adapter" / "values.yaml")[0]["rules"]["custom"]
    asked = {metric["pods"]["metric"]["name"]: metric["pods"]["target"]["averageValue"] for metric in spec["metrics"]}
    assert set(asked) == {rule["name"]["as"] for rule in rules}
    assert 0 < int(asked["sentiment_queue_share"].removesuffix("m")) < 1_000, "before the queue is full"


def test_expressions_name_metrics_labels_and_routes_that_there_are() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.request("/", 200, 0.1)
    samples = {sample.name: set(sample.labels) for family in registry.collect() for sample in family.samples}
    for expression in expressions():
        found = selectors(expression)
        assert found, expression
        for selector in found:
            assert selector.metric in samples, selector.metric
            for label, _, value in selector.matchers:
                assert label in samples[selector.metric] | POD_LABELS, label
                assert label != "route" or value in paths()
    (template,) = [
        each for each in documents(KUBERNETES / "components/argo/analysis.yaml") if "before" in each["metadata"]["name"]
    ]
    (url,) = [each["provider"]["web"]["url"] for each in template["spec"]["metrics"] if "web" in each["provider"]]
    path = "/" + url.split("/", 3)[3]
    assert path in paths()
    assert path in OPEN  # the controller has no key


def test_expressions_are_promql(tmp_path: Path) -> None:
    rules = [{"record": f"tried:{number}", "expr": each} for number, each in enumerate(expressions())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "tried", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run(
        [tool("promtool"), "check", "rules", "--lint=none", str(file)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_argo_takes_over_what_the_deployment_ran() -> None:
    objects = built(KUBERNETES / "overlays/argo")
    rollout = objects["Rollout", "nsmc-sentiment"]["spec"]
    deployment = objects["Deployment", "nsmc-sentiment"]
    assert deployment["spec"]["replicas"] == 0
    assert rollout["workloadRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "nsmc-sentiment"}
    assert rollout["selector"] == deployment["spec"]["selector"]
    strategy = rollout["strategy"]["blueGreen"]
    active, preview = (objects["Service", strategy[f"{which}Service"]] for which in ("active", "preview"))
    assert active["spec"] == preview["spec"]
    longest = 0.0
    for which in ("prePromotionAnalysis", "postPromotionAnalysis"):
        for template in strategy[which]["templates"]:
            analysis = objects["AnalysisTemplate", template["templateName"]]["spec"]
            given = {argument["name"] for argument in strategy[which]["args"]}
            assert {each["name"] for each in analysis["args"] if "value" not in each} == given
            for metric in analysis["metrics"]:
                longest = max(
                    longest, seconds(metric.get("initialDelay", "0s")) + metric["count"] * seconds(metric["interval"])
                )
    assert strategy["scaleDownDelaySeconds"] > longest
    (monitor,) = [thing for (kind, _), thing in objects.items() if kind == "PodMonitor"]
    assert {label.replace("-", "_") for label in monitor["spec"]["podTargetLabels"]} <= POD_LABELS
    sources = objects["NetworkPolicy", "nsmc-sentiment"]["spec"]["ingress"][0]["from"]
    assert "argo-rollouts" in str(sources)


def seconds(duration: str) -> float:
    return float(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_no_container_may_more_than_it_must(entrance: str) -> None:
    for name, pod in pods(rendered(entrance)).items():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        for container in containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"], name
            if entrance in SERVING:
                assert context["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("entrance", SERVING)
def test_models_are_mounted_where_the_image_looks_for_them(entrance: str) -> None:
    from bentoml._internal.container.generate import BENTO_UID_GID

    envs = yaml.safe_load((ROOT / "bentofile.yaml").read_text(encoding="utf-8"))["envs"]
    (where,) = [variable["value"] for variable in envs if variable["name"] == "MODEL_STORE"]
    objects = rendered(entrance)
    mounts = {mount["name"]: mount for mount in the_service(objects)["volumeMounts"]}
    assert mounts["models"] == {"name": "models", "mountPath": where, "readOnly": True}
    pod = pod_of(objects["Deployment", "nsmc-sentiment"])
    assert pod["securityContext"]["runAsUser"] == BENTO_UID_GID
    assert "initContainers" not in pod


def test_a_pod_writes_into_the_volume_that_replicas_read_and_has_no_traffic() -> None:
    objects = built(KUBERNETES / "models", built(KUBERNETES / "overlays/cpu"))
    writer, reader = objects["Pod", "models"], pod_of(objects["Deployment", "nsmc-sentiment"])
    spec = writer["spec"]
    assert "labels" not in writer["metadata"]
    assert [volume for volume in reader["volumes"] if volume["name"] == "models"] == spec["volumes"]
    assert spec["securityContext"] == reader["securityContext"]
    (container,) = spec["containers"]
    assert container["volumeMounts"] == [{"name": "models", "mountPath": "/models"}]
    assert container["securityContext"] == the_service(objects)["securityContext"]
    folders = [KUBERNETES / entrance for entrance in ("models", "overlays/cpu")]
    files = [yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8")) for folder in folders]
    assert files[0]["images"] == files[1]["images"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_journal_is_kept_where_its_component_is(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(rendered(overlay), monkeypatch).journal_folder is None
    objects = rendered(f"{overlay} components/journal")
    settings = settings_of(objects, monkeypatch)
    mounts = {mount["name"]: mount for mount in the_service(objects)["volumeMounts"]}
    # to be written to, by whom the volume is given to
    assert mounts["journal"] == {"name": "journal", "mountPath": str(settings.journal_folder)}
    context = pod_of(objects["Deployment", "nsmc-sentiment"])["securityContext"]
    assert context["fsGroup"] == context["runAsGroup"]
    claim = objects["PersistentVolumeClaim", "journal"]["spec"]
    assert claim["accessModes"] == ["ReadWriteMany"]
    workers = objects["HorizontalPodAutoscaler", "nsmc-sentiment"]["spec"]["maxReplicas"] * settings.processes
    workers *= 2 if overlay == "overlays/argo" else 1
    assert mib(claim["resources"]["requests"]["storage"]) > 2 * workers * settings.journal_mib


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_callers_need_keys_which_are_in_redis(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = rendered(overlay)
    settings = settings_of(objects, monkeypatch)
    assert settings.access == "keys"  # by itself a pod does not start before there is a key
    assert isinstance(settings.keys(), RedisKeys)
    (redis,) = pod_of(objects["StatefulSet", "redis"])["containers"]
    # keys have no lifetime
    assert re.findall(r"--maxmemory-policy (\S+)", redis["args"][0]) == ["volatile-lru"]
    # neither whoever watches nor the cluster has a key
    assert {*PROBES, "/metrics"} <= OPEN


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_keys_are_in_a_secret_where_its_component_is(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = rendered(f"{overlay} components/keys")
    settings = settings_of(objects, monkeypatch)
    assert settings.access == "keys"
    assert isinstance(settings.keys(), FileKeys)  # though there is a Redis
    assert settings.keys_file is not None
    container, pod = the_service(objects), pod_of(objects["Deployment", "nsmc-sentiment"])
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["keys"] == {"name": "keys", "mountPath": str(settings.keys_file.parent), "readOnly": True}
    (volume,) = [each for each in pod["volumes"] if each["name"] == "keys"]
    # to be read by the pod's group, which is whose the files are
    assert volume["secret"] == {"secretName": "keys", "defaultMode": 0o440}
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    made = re.findall(r"create secret generic (\S+) --from-file=(\S+) ", text)
    assert made == [(volume["secret"]["secretName"], settings.keys_file.name)]


def mib(size: str) -> int:
    return int(size[:-2]) * {"Mi": 1, "Gi": 1024}[size[-2:]]


def test_training_on_one_machine_is_the_real_command() -> None:
    objects = built(KUBERNETES / "training")
    variables = objects["ConfigMap", "pipeline"]["data"]
    assert variables["PROFILE"] in profile.names()
    assert URI_VARIABLE in variables
    accelerate = load_config_from_file(str(ROOT / variables["ACCELERATE_CONFIG"]))
    (container,) = pod_of(objects["Job", "pipeline"])["containers"]
    assert accelerate.num_processes == int(container["resources"]["limits"]["nvidia.com/gpu"])
    assert accelerate.num_machines == 1
    modules = re.findall(r"-m (pipelines\.\w+)", container["args"][0])
    assert modules == ["pipelines.workspace"]
    assert (ROOT / "pipelines" / "workspace.py").exists()
    assert set(re.findall(r"\$(\w+)", container["args"][0])) <= set(variables)


def test_training_on_several_machines_agrees_with_itself(tmp_path: Path) -> None:
    objects = built(KUBERNETES / "training-nodes", built(KUBERNETES / "training"))
    job, service = objects["Job", "train"], objects["Service", "train"]
    config = KUBERNETES / "training-nodes" / "accelerate.yaml"
    accelerate = load_config_from_file(str(config))
    spec, pod = job["spec"], pod_of(job)
    (container,) = pod["containers"]
    gpus = int(container["resources"]["limits"]["nvidia.com/gpu"])
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == accelerate.num_machines
    assert accelerate.num_processes == accelerate.num_machines * gpus
    assert pod["subdomain"] == service["metadata"]["name"]
    assert accelerate.main_process_ip == f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert [port["containerPort"] for port in container["ports"]] == [accelerate.main_process_port]
    # the line that the pod runs, with its paths put elsewhere
    line = container["args"][0].splitlines()[0]
    written = tmp_path / "accelerate.yaml"
    line = line.replace("/configs/accelerate.yaml", str(config)).replace("/tmp/accelerate.yaml", str(written))  # noqa: S108
    subprocess.run(["bash", "-ec", line], check=True, env={"JOB_COMPLETION_INDEX": "1", "PATH": "/usr/bin:/bin"})
    assert load_config_from_file(str(written)).machine_rank == 1
    assert container["args"][0].splitlines()[1] == "exec python -m pipelines.launch train"
    assert "train" in launch.STAGES
    started = launch.command("train", {launch.CONFIG_VARIABLE: str(written)})
    assert started[1:] == ["-m", "accelerate.commands.launch", "--config_file", str(written), "-m", "pipelines.train"]
    assert container["workingDir"] == "/workspace/run"
    assert not artifacts.ROOT.is_absolute()  # so that all machines find them in the working copy
