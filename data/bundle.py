"""The bundle: the folder that training hands to serving.

It holds the exported graphs, one for each precision that passed the gate, the tokenizer and one JSON manifest that
describes them. Loading checks every digest; whoever can run a graph then checks that it
reproduces the golden samples. Nothing in a bundle is a pickle.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np

from data.encode import TOKENIZER_FILE, Encoder
from data.errors import BundleInvalid, DigestMismatch, GoldenMismatch, SettingError, UnknownFormat
from data.files import sha256
from data.labels import NAMES, NeutralBand
from data.probability import Calibration
from data.text import CLEANING_VERSION
from data.typed import typed

FORMAT_VERSION = 3
MANIFEST_FILE = "bundle.json"
SIGNATURE_FILE = "model.sig"
"""Beside them where the bundle is signed; see ``serving.signature``."""
GRAPH_FILE = "model.onnx"
FULL = "fp32"
"""The precision of ``GRAPH_FILE``, which every bundle has."""
GOLDEN_TOLERANCES = {FULL: 1e-3, "fp16": 5e-3, "bf16": 2e-2, "int8": 2e-2}
"""By precision, the largest difference of a probability that a golden sample allows: another machine sums in another
order, and where numbers are rounded coarsely, some then fall to the other side."""
LENGTH_QUANTILES = 64


def length_quantiles(lengths: Iterable[int]) -> tuple[int, ...]:
    """What a manifest keeps of the token counts of reviews, ascending."""
    shares = np.linspace(0.0, 1.0, LENGTH_QUANTILES)
    return tuple(np.quantile(list(lengths), shares).round().astype(int).tolist())


@dataclass(frozen=True, slots=True)
class Golden:
    """A text and what the exported model says of it, by precision: what every engine has to reproduce."""

    text: str
    ids: tuple[int, ...]
    positive: dict[str, float]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that serving needs to know of a model, and where it comes from; see ``bundle.schema.json``.

    ``graphs`` maps each precision that may be served to its graph's file, and ``files`` the name of each other file
    to its SHA-256. ``token_lengths`` are quantiles of dev's lengths, ascending: what engines are warmed up and timed
    with. ``metrics``, ``gate`` (figures by precision) and ``lineage`` inform too; all else decides what the model
    answers, and is what ``digest`` is taken over.
    """

    model_name: str
    model_type: str
    max_length_tokens: int
    calibration: Calibration
    neutral_band: NeutralBand
    fingerprint: str
    graphs: dict[str, str]
    files: dict[str, str]
    golden: tuple[Golden, ...]
    token_lengths: tuple[int, ...]
    language: str = "Korean"
    labels: tuple[str, ...] = NAMES
    cleaning_version: str = CLEANING_VERSION
    format_version: int = FORMAT_VERSION
    metrics: dict[str, float] = field(default_factory=dict)
    gate: dict[str, dict[str, float | bool]] = field(default_factory=dict)
    lineage: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over what decides the answers: the same weights and settings give the same digest."""
        content = asdict(self)
        for informs in ("metrics", "gate", "lineage", "token_lengths"):
            del content[informs]
        canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write the manifest file into ``folder``."""
        content = json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n"
        (folder / MANIFEST_FILE).write_text(content, encoding="utf-8")

    def check(self) -> None:
        """Raise BundleInvalid where the parts do not fit each other."""
        for required in (GRAPH_FILE, TOKENIZER_FILE, *self.graphs.values()):
            if required not in self.files:
                raise BundleInvalid(f"{MANIFEST_FILE}: files does not name {required}")
        if self.graphs.get(FULL) != GRAPH_FILE or not set(self.graphs) <= set(GOLDEN_TOLERANCES):
            raise BundleInvalid(
                f"{MANIFEST_FILE}: graphs has {sorted(self.graphs)}; it must have {FULL}, in {GRAPH_FILE}, and may "
                f"have {', '.join(list(GOLDEN_TOLERANCES)[1:])}"
            )
        if not self.golden or any(
            set(golden.positive) != set(self.graphs) or not all(0.0 <= p <= 1.0 for p in golden.positive.values())
            for golden in self.golden
        ):
            raise BundleInvalid(f"{MANIFEST_FILE}: golden must hold samples with P(positive) for each of the graphs")
        lengths = self.token_lengths
        if not lengths or not 3 <= min(lengths) <= max(lengths) <= self.max_length_tokens:
            raise BundleInvalid(f"{MANIFEST_FILE}: token_lengths must be from 3 to {self.max_length_tokens}")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of the bundle in ``folder``, whose files are not looked at. Raises BundleInvalid."""
        try:
            return cls.from_json((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BundleInvalid(f"{MANIFEST_FILE} cannot be read: {type(error).__name__}") from error

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Parse a manifest file. Raises BundleInvalid for anything but the keys and types of this version."""
        try:
            raw = json.loads(text)
            version = raw.get("format_version")
            if version != FORMAT_VERSION:
                raise UnknownFormat(f"{MANIFEST_FILE}: format_version is {version!r}; it must be {FORMAT_VERSION}")
            return typed(raw, cls)
        except (json.JSONDecodeError, AttributeError, SettingError) as error:
            raise BundleInvalid(f"{MANIFEST_FILE} is not a manifest: {error}") from error


_encoders: WeakValueDictionary[tuple[str, int], Encoder] = WeakValueDictionary()


def _encoder(folder: Path, digest: str, max_length_tokens: int) -> Encoder:
    """Of a tokenizer file with that digest. Bundles that are open and have the same one share it.

    Reading one holds the interpreter's lock for some ten milliseconds, in which a service answers nobody.
    """
    found = _encoders.get((digest, max_length_tokens))
    if found is None:
        found = _encoders[digest, max_length_tokens] = Encoder.from_file(folder, max_length_tokens)
    return found


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk whose files are the ones that its manifest names."""

    folder: Path
    manifest: Manifest
    encoder: Encoder

    def graph(self, precision: str) -> Path:
        """The graph of a precision that the manifest names."""
        return self.folder / self.manifest.graphs[precision]

    @classmethod
    def open(cls, folder: Path) -> "Bundle":
        """Read and verify ``folder``: manifest, digests, cleaning version, labels, fingerprint, golden token ids.

        Raises BundleInvalid, DigestMismatch or GoldenMismatch, each naming what differs.
        """
        manifest = Manifest.read(folder)
        manifest.check()
        for name, expected in manifest.files.items():
            if Path(name).name != name:
                raise BundleInvalid(f"{MANIFEST_FILE}: {name!r} is not a plain file name")
            try:
                found = sha256(folder / name)
            except OSError as error:
                raise BundleInvalid(f"bundle file {name!r} cannot be read: {type(error).__name__}") from error
            if found != expected:
                raise DigestMismatch(name, expected, found)
        if manifest.cleaning_version != CLEANING_VERSION:
            raise BundleInvalid(
                f"{MANIFEST_FILE}: cleaning_version is {manifest.cleaning_version!r}; "
                f"this code has {CLEANING_VERSION!r}"
            )
        if manifest.labels != NAMES:
            raise BundleInvalid(f"{MANIFEST_FILE}: labels are {manifest.labels}; they must be {NAMES}")
        encoder = _encoder(folder, manifest.files[TOKENIZER_FILE], manifest.max_length_tokens)
        if encoder.fingerprint != manifest.fingerprint:
            raise BundleInvalid(
                f"{MANIFEST_FILE}: fingerprint is {manifest.fingerprint}; its preprocessing gives {encoder.fingerprint}"
            )
        for number, golden in enumerate(manifest.golden):
            if tuple(encoder.encode([golden.text])[0]) != golden.ids:
                raise GoldenMismatch(f"golden sample {number}: token ids differ from the manifest's")
        return cls(folder, manifest, encoder)

    def check_golden(self, positive: Sequence[float], precision: str) -> None:
        """Compare an engine's calibrated P(positive) for the golden samples, in order, with the manifest's."""
        tolerance = GOLDEN_TOLERANCES[precision]
        for number, (golden, found) in enumerate(zip(self.manifest.golden, positive, strict=True)):
            expected = golden.positive[precision]
            if not abs(expected - found) <= tolerance:  # also catches NaN
                raise GoldenMismatch(
                    f"golden sample {number}: P(positive) is {found:.6f} in {precision}; the manifest says "
                    f"{expected:.6f}, and at most {tolerance} between them is allowed"
                )
