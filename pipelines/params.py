"""params.yaml as frozen settings: unknown keys refused, ranges checked, every problem named with its key."""

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data.errors import DataError
from pipelines.errors import SettingsError
from training.config import Backbone, Training
from training.errors import TrainingError
from training.pretrain import Pretraining

PARAMS_FILE = Path("params.yaml")

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Fraction = Annotated[float, Field(gt=0.0, lt=0.5)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceFile(_Section):
    """One published file: its name at the source, its size and its SHA-256."""

    name: str
    bytes: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Crawl(_Section):
    """The raw crawl, if it is used: a folder of its JSON files, or a Parquet table; ``NSMC_CRAWL`` takes over.

    ``sha256`` is that of its rows (``data.crawl.digest``); none accepts any. With neither, there is no crawl.
    """

    source: str | None
    sha256: str | None = Field(pattern=r"^[0-9a-f]{64}$")


class FeedbackSource(_Section):
    """What callers corrected, if it is used: the table that ``pipelines.feedback`` wrote; ``NSMC_FEEDBACK`` takes over.

    ``sha256`` is the table's; none accepts any. With neither, there is no feedback.
    """

    source: str | None
    sha256: str | None = Field(pattern=r"^[0-9a-f]{64}$")


class Fetch(_Section):
    """Where the two files come from: a folder, or any URL that fsspec opens; ``NSMC_SOURCE`` takes over."""

    source: str
    train: SourceFile
    test: SourceFile
    crawl: Crawl
    feedback: FeedbackSource


class Believed(_Section):
    """Which of the callers' corrections are believed; see ``data.feedback.Trust``."""

    callers: int = Field(ge=1, le=1_000)
    agreement: float = Field(gt=0.5, le=1.0)
    share: float = Field(gt=0.0, le=0.2)
    caller_share: float = Field(gt=0.0, le=1.0)


class Prepare(_Section):
    """How dev is cut from train, and what of the callers' corrections comes into it."""

    dev_fraction: Fraction
    seed: int = Field(ge=0, lt=2**32)
    feedback: Believed


class Teacher(_Section):
    """Whose answers are mixed into the targets by ``weight``: ``linear`` (cross-fitted), or folders of bundles.

    Several are averaged.
    """

    weight: float = Field(ge=0.0, le=1.0)
    names: tuple[str, ...]

    @model_validator(mode="after")
    def _somebody_teaches(self) -> Self:
        if self.weight > 0.0 and not self.names:
            raise ValueError("compose.teacher.names is empty; with a weight above 0 it must name somebody")
        return self


class Compose(_Section):
    """What is learned from beside NSMC's train.

    ``polar`` adds the crawl's reviews of 1-4 and 9-10 stars at train's class prior; ``neutral`` those of 5-8 stars,
    whose probability of being positive is taken to be ``neutral_targets``.
    """

    polar: bool
    neutral: bool
    neutral_targets: tuple[Probability, Probability, Probability, Probability]
    teacher: Teacher
    seed: int = Field(ge=0, lt=2**32)


class Encode(_Section):
    """What both training and serving read of a review, in tokens with [CLS] and [SEP]."""

    max_length_tokens: int = Field(ge=3, le=512)


class Judge(_Section):
    """How models are judged, and the neutral band where no neutral reviews are at hand to fit it on."""

    neutral_low: float = Field(ge=0.0, le=0.5)
    neutral_high: float = Field(ge=0.5, le=1.0)
    resamples: int = Field(ge=100, le=100_000)


class Gate(_Section):
    """What a precision may lose against the full one; see ``training.precision.Limits``."""

    accuracy_loss_points: float = Field(ge=0.0, le=100.0)
    label_flips: Probability
    probability_difference: Probability


class Export(_Section):
    """What the exported graphs have to fulfil, and what the bundle carries beside them.

    ``max_logit_difference`` is between the model and its graph in full precision, which there always is; each of
    ``precisions`` is exported too, and let into the bundle by ``gate``. ``calibration_reviews`` of dev set the ranges
    of 8 bits; so many of test, ``stability_reviews``, are judged alone and in random batches.
    """

    golden_samples: int = Field(ge=1, le=1000)
    max_logit_difference: float = Field(gt=0.0, le=0.1)
    precisions: tuple[Literal["int8", "int8-dynamic", "fp16", "bf16"], ...]
    calibration_reviews: int = Field(ge=1, le=100_000)
    stability_reviews: int = Field(ge=1, le=1_000_000)
    gate: Gate


class Register(_Section):
    """Names in MLflow: of the experiment, and of the registered model and its Bento twin."""

    experiment: Name
    model: Name


class Choose(_Section):
    """When a candidate takes the champion's place.

    It has to beat the linear baseline by McNemar's test at ``significance``. It is refused when the same test calls it
    worse than the champion, or when it lost more than ``max_drop_points`` of accuracy, in percentage points, whatever
    the test says.
    """

    significance: float = Field(gt=0.0, le=0.5)
    max_drop_points: float = Field(ge=0.0, le=100.0)


class Package(_Section):
    """What happens to a new champion once it is packaged.

    With ``stage`` it is staged in the running service (``serving.rollout``), without any traffic; moving traffic is an
    operator's. Where the service keeps its rollout say ``REDIS_URL``, ``ROLLOUT_FOLDER`` and ``ROLLOUT_NAME``.
    """

    stage: bool


class Params(_Section):
    """All settings of one run."""

    profile: Name
    fetch: Fetch
    prepare: Prepare
    encode: Encode
    compose: Compose
    backbone: Backbone
    pretrain: Pretraining
    train: Training
    judge: Judge
    export: Export
    register_: Register = Field(alias="register")
    choose: Choose
    package: Package

    @model_validator(mode="after")
    def _positions_hold_the_longest_review(self) -> Self:
        architecture = self.backbone.architecture
        if architecture and architecture.positions < self.encode.max_length_tokens:
            raise ValueError(
                f"backbone.architecture.positions is {architecture.positions}; it must be at least "
                f"encode.max_length_tokens ({self.encode.max_length_tokens})"
            )
        return self

    @classmethod
    def load(cls, path: Path = PARAMS_FILE) -> Self:
        """Read and check ``path``. Raises SettingsError with every problem in it."""
        try:
            raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise SettingsError(f"{path} is missing; run from the repository's root") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is not YAML: {error}") from error
        return cls.check(raw, str(path))

    @classmethod
    def check(cls, raw: object, origin: str) -> Self:
        """Build from plain values; ``origin`` names them in the message of a SettingsError."""
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            problems = [
                f"  {'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']} (got {problem['input']!r:.80})"
                for problem in error.errors()
            ]
            raise SettingsError(f"{origin} has {len(problems)} problem(s)\n" + "\n".join(problems)) from error
        except (DataError, TrainingError) as error:
            raise SettingsError(f"{origin}: {error}") from error
