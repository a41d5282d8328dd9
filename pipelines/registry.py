"""The project's only MLflow client: runs, versions of the model, and their aliases.

A version is identified by the digest of its bundle. Everything here may be called again with the same arguments: DVC
restores a stage's outputs without running it, and an interrupted stage runs twice.
"""

import getpass
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from data.bundle import Bundle
from data.ledger import Entry, following, verify
from pipelines.errors import RegistryError
from pipelines.lineage import DatasetUse, datasets_used, git_commit
from pipelines.params import Params, Register

URI_VARIABLE = "MLFLOW_TRACKING_URI"
PARENT_VARIABLE = "MLFLOW_PARENT_RUN"
"""Names the run that new runs are children of, if any: a sweep sets it."""
EXPERIMENT_VARIABLE, EXPERIMENT_TAG = "DVC_EXP_NAME", "dvc_experiment"
"""Where DVC says which of its experiments a stage runs in, and the tag that keeps it."""
STORE = Path("mlruns")
CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"
BUNDLE, EVALUATION, REPORTS = "bundle", "evaluation", "reports"
DIGEST_TAG, ROWS_TAG, DECISION_TAG = "bundle_digest", "test_rows_sha256", "gate_decision"
PROMOTION_TAG = "promotion_"
"""Of the model: an entry of the promotion log each, because MLflow itself forgets where an alias was."""
_PARAM_LIMIT, _TAG_LIMIT, _WHY_LIMIT = 6000, 8000, 2000
_BATCH_LIMIT = 100
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""Of MLflow's client, unless the environment says otherwise; by itself it tries for minutes."""
_WHY_SHOWN = 200

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version of the model."""

    number: int
    digest: str
    run_id: str
    test_rows: str
    decision: str = ""
    """What the gate decided when the version became champion, as JSON."""

    @classmethod
    def of(cls, version: ModelVersion) -> Self:
        """From MLflow's own record."""
        return cls(
            number=int(version.version),
            digest=version.tags.get(DIGEST_TAG, ""),
            run_id=version.run_id or "",
            test_rows=version.tags.get(ROWS_TAG, ""),
            decision=version.tags.get(DECISION_TAG, ""),
        )

    def tag(self, model: str) -> str:
        """``model:v<version>-<bundle digest>``, in Bento's store: two MLflow stores may both have a version 1."""
        return f"{model}:v{self.number}-{self.digest[:8]}"


def place(kind: str, digest: str) -> str:
    """Where a run keeps what belongs to one bundle: one training may be exported more than once."""
    return f"{kind}/{digest[:16]}"


def _reaching(method: Callable[Concatenate["Registry", P], T]) -> Callable[Concatenate["Registry", P], T]:
    """``method``, which raises RegistryError where MLflow cannot be reached or does not take what it is given."""

    @wraps(method)
    def called(self: "Registry", /, *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return method(self, *arguments, **named)
        except MlflowException as error:
            raise RegistryError(
                f"MLflow at {redacted(self.uri)} cannot be used: {self._why(error)}; run the same command again when "
                "it can be reached"
            ) from error

    return called


class Registry:
    """One experiment and one registered model on one MLflow store. All of it may raise RegistryError."""

    def __init__(self, names: Register, uri: str | None = None) -> None:
        """``uri`` of None means ``MLFLOW_TRACKING_URI``, or else SQLite and a folder under ``mlruns/``."""
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._names = names
        self.uri = uri or os.environ.get(URI_VARIABLE) or local_uri()
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        self._client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @_reaching
    def start_run(
        self,
        name: str,
        settings: Mapping[str, Any],
        datasets: Sequence[DatasetUse],
        commit: str,
        opened: Callable[[str], None] = lambda _: None,
    ) -> str:
        """Open a run, a child of the one that ``PARENT_VARIABLE`` names, and log what it will do; returns its id.

        ``opened`` is told the id as soon as there is one: whoever is interrupted after that knows what to end.
        """
        outside = {MLFLOW_PARENT_RUN_ID: PARENT_VARIABLE, EXPERIMENT_TAG: EXPERIMENT_VARIABLE}
        tags = {tag: os.environ[variable] for tag, variable in outside.items() if os.environ.get(variable)}
        tags |= {"mlflow.runName": name, "mlflow.source.git.commit": commit, "git_commit": commit}
        run = self._client.create_run(self._experiment_id(), run_name=name, tags=tags)
        run_id: str = run.info.run_id
        opened(run_id)
        parameters = [Param(key, str(value)[:_PARAM_LIMIT]) for key, value in _flat(settings)]
        for start in range(0, len(parameters), _BATCH_LIMIT):
            self._client.log_batch(run_id, params=parameters[start : start + _BATCH_LIMIT])
        inputs = [
            DatasetInput(
                MlflowDataset(use.name, use.sha256[:36], "local", f'{{"uri": "{use.source}"}}'),
                [InputTag(MLFLOW_DATASET_CONTEXT, use.context)],
            )
            for use in datasets
        ]
        self._client.log_inputs(run_id, datasets=inputs)
        self._client.log_batch(run_id, tags=[RunTag(f"{use.name}_sha256", use.sha256) for use in datasets])
        return run_id

    @_reaching
    def children(self, run_id: str) -> dict[str, str]:
        """Ids of the runs that are children of this one, the last that each DVC experiment started, by its name."""
        wanted = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{run_id}'"
        order = ["attributes.start_time ASC"]
        found = self._client.search_runs([self._experiment_id()], wanted, max_results=1000, order_by=order)
        return {run.data.tags.get(EXPERIMENT_TAG, ""): run.info.run_id for run in found}

    @_reaching
    def has_run(self, run_id: str) -> bool:
        """Whether this store knows the run, and it was not deleted."""
        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    @_reaching
    def resume_run(self, run_id: str) -> None:
        """Mark a run as running again."""
        self._client.update_run(run_id, status="RUNNING")

    @_reaching
    def end_run(self, run_id: str) -> None:
        """Say of a run that nobody carries on any more that it was killed, unless it ended otherwise."""
        if self._client.get_run(run_id).info.status == "RUNNING":
            self._client.set_terminated(run_id, status="KILLED")

    @contextmanager
    def finishing(self, run_id: str) -> Iterator[None]:
        """End the run with the block: FINISHED, FAILED after an error, KILLED after Ctrl-C or SIGTERM."""
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        except (KeyboardInterrupt, SystemExit):
            status = "KILLED"
            raise
        finally:
            if status == "FINISHED":
                self._end(run_id, status)
            else:
                with suppress(RegistryError):  # what ended the block is what is told
                    self._end(run_id, status)

    @_reaching
    def _end(self, run_id: str, status: str) -> None:
        self._client.set_terminated(run_id, status=status)

    @contextmanager
    def watching(self, run_id: str) -> Iterator[None]:
        """Log what the block takes of processor, memory, disk and GPU as the run's system metrics."""
        monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=self.uri)
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()

    @_reaching
    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Add one point to each named curve."""
        now = int(time.time() * 1000)
        self._client.log_batch(run_id, metrics=[Metric(name, value, now, step) for name, value in metrics.items()])

    @_reaching
    def tag_run(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags, replacing those of the same name."""
        self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    @_reaching
    def attach(self, run_id: str, path: Path, where: str) -> None:
        """Upload a file, or what is in a folder, under ``where`` of the run's artifacts."""
        if path.is_dir():
            self._client.log_artifacts(run_id, str(path), where)
        else:
            self._client.log_artifact(run_id, str(path), where)

    @_reaching
    def attach_text(self, run_id: str, text: str, where: str) -> None:
        """Keep ``text`` as the file ``where`` of the run's artifacts."""
        self._client.log_text(run_id, text, where)

    def describe_run(self, run_id: str, text: str) -> None:
        """Show ``text``, Markdown, on the run's page."""
        self.tag_run(run_id, {MLFLOW_RUN_NOTE: text[:_TAG_LIMIT]})

    @_reaching
    def register(self, run_id: str, bundle: Bundle, tags: Mapping[str, str], card: str) -> Version:
        """The version that holds ``bundle``, made from the run's artifacts unless it exists; it becomes candidate.

        ``card``, Markdown, is shown on its page.
        """
        digest = bundle.manifest.digest
        version = self.version_by_digest(digest)
        if version is None:
            self.attach(run_id, bundle.folder, place(BUNDLE, digest))
            self._ensure_model()
            created = self._client.create_model_version(
                self._names.model,
                source=f"runs:/{run_id}/{place(BUNDLE, digest)}",
                run_id=run_id,
                tags={DIGEST_TAG: digest, **tags},
                description=card,
            )
            version = Version.of(created)
        self._client.set_registered_model_alias(self._names.model, CANDIDATE, str(version.number))
        return version

    @_reaching
    def version_by_digest(self, digest: str) -> Version | None:
        """The version whose bundle has this digest, the newest if there are several."""
        found = self._client.search_model_versions(
            f"name = '{self._names.model}' and tag.{DIGEST_TAG} = '{digest}'", order_by=["version_number DESC"]
        )
        return Version.of(found[0]) if found else None

    @_reaching
    def version(self, name: str) -> Version:
        """The version that ``name``, a number or an alias, stands for; raises RegistryError, naming what there is."""
        model, where = self._names.model, redacted(self.uri)
        versions = {int(v.version): Version.of(v) for v in self._client.search_model_versions(f"name = '{model}'")}
        if not versions:
            raise RegistryError(f"no version of {model} is registered in {where} yet")
        aliases = {alias: int(n) for alias, n in self._client.get_registered_model(model).aliases.items()}
        found = versions.get(int(name) if name.isdecimal() else aliases.get(name, 0))
        if found is None:
            known = [*map(str, sorted(versions)), *(f"{alias} ({n})" for alias, n in sorted(aliases.items()))]
            raise RegistryError(f"{name!r} is no version of {model} in {where}; there are {', '.join(known)}")
        return found

    @_reaching
    def champion(self) -> Version | None:
        """The version that the alias ``champion`` names, if it names one."""
        try:
            return Version.of(self._client.get_model_version_by_alias(self._names.model, CHAMPION))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    @_reaching
    def promote(self, version: Version, why: str, figures: Mapping[str, float]) -> None:
        """Alias ``champion`` becomes ``version`` and ``previous`` the one before it; the promotion log says so.

        The log is written first: what was interrupted after that is finished by the next call, and not noted twice.
        Raises RegistryError where somebody else promotes at the same time, and LedgerBroken for a log that was changed.
        """
        before = self.champion()
        if before is not None and before.number == version.number:
            return
        entries = self.promotions()
        verify(entries)
        last = entries[-1] if entries else None
        if last is None or (last.before, last.after) != (_number(before), _number(version)):
            self._note(last, before, version, why, figures)
        if before is not None:
            self._client.set_registered_model_alias(self._names.model, PREVIOUS, str(before.number))
        self._client.set_registered_model_alias(self._names.model, CHAMPION, str(version.number))

    @_reaching
    def promotions(self) -> list[Entry]:
        """The promotion log, oldest first, out of the model's tags. Raises LedgerBroken for what is no entry."""
        try:
            tags = self._client.get_registered_model(self._names.model).tags
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return []
            raise
        return [Entry.from_json(tags[name]) for name in sorted(tags) if name.startswith(PROMOTION_TAG)]

    def _note(
        self, last: Entry | None, before: Version | None, version: Version, why: str, figures: Mapping[str, float]
    ) -> None:
        entry = following(
            last,
            at=round(time.time(), 3),
            who=f"{getpass.getuser()}@{socket.gethostname()}",
            what="promote",
            before=_number(before),
            after=_number(version),
            why=why[:_WHY_LIMIT],
            figures={name: float(figure) for name, figure in figures.items()},
        )
        name = f"{PROMOTION_TAG}{entry.number:06d}"
        self._client.set_registered_model_tag(self._names.model, name, entry.to_json())
        if self._client.get_registered_model(self._names.model).tags.get(name) != entry.to_json():
            raise RegistryError("somebody else promoted at the same time; run it again")

    @_reaching
    def tag_version(self, version: Version, tags: Mapping[str, str]) -> None:
        """Set tags of a version, replacing those of the same name."""
        for key, value in tags.items():
            self._client.set_model_version_tag(self._names.model, str(version.number), key, value)

    def download(self, version: Version, kind: str, folder: Path) -> Path:
        """Copy what the version's run keeps of a kind (``BUNDLE``, …) into ``folder`` and return where it lies."""
        try:
            return Path(self._client.download_artifacts(version.run_id, place(kind, version.digest), str(folder)))
        except (MlflowException, OSError) as error:
            raise RegistryError(
                f"version {version.number} of {self._names.model} has no {kind} in {redacted(self.uri)}: "
                f"{type(error).__name__}: {self._why(error)}"
            ) from error

    def _why(self, error: Exception) -> str:
        """What an error says, in a line, without the password that it may quote."""
        return " ".join(str(error).replace(self.uri, redacted(self.uri)).split())[:_WHY_SHOWN]

    def _experiment_id(self) -> str:
        experiment = self._client.get_experiment_by_name(self._names.experiment)
        if experiment is not None:
            return str(experiment.experiment_id)
        local = (STORE / "artifacts").resolve().as_uri() if self.uri == local_uri() else None
        return str(self._client.create_experiment(self._names.experiment, artifact_location=local))

    def _ensure_model(self) -> None:
        try:
            self._client.create_registered_model(self._names.model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _number(version: Version | None) -> str | None:
    return None if version is None else str(version.number)


def new_run(registry: Registry, params: Params, opened: Callable[[str], None] = lambda _: None) -> str:
    """Open a run of the present settings, data and commit; returns its id, which ``opened`` is told before."""
    settings = params.model_dump(mode="json", by_alias=True)
    return registry.start_run(params.profile, settings, datasets_used(params.fetch.source), git_commit(), opened)


def local_uri() -> str:
    """The embedded store: one SQLite file in the working directory, whose folder is made.

    The path is absolute, because MLflow keeps one store in memory for each address that it was given.
    """
    STORE.mkdir(exist_ok=True)
    return f"sqlite:///{STORE.resolve() / 'mlflow.db'}"


def redacted(uri: str) -> str:
    """``uri`` without the user and password that it may hold."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
