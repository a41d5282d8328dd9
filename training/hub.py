"""Pretrained weights and their tokenizer, from the hub or a folder, recorded to the byte, without running their code.

torch and transformers are imported where weights are loaded: a fetch needs neither.
"""

import json
import pickle
import re
import warnings
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub import errors as hub_errors
from tokenizers import Tokenizer

from data.encode import TOKENIZER_FILE
from data.files import sha256
from training.errors import BackboneUnavailable
from training.vocabulary import SPECIAL_TOKENS

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

SUPPORTED_TYPES = ("electra", "bert")
CONFIG_FILE = "config.json"
WEIGHTS_FILES = ("model.safetensors", "pytorch_model.bin")
"""The first that is there is used."""
VOCABULARY_FILE, TOKENIZER_CONFIG_FILE, TOKENS_FILE = "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"
DOWNLOAD_TRIES = 3

_WAYS_OUT = (
    "Ways out: go online; set HF_ENDPOINT to a mirror of the hub; set HF_HOME to a cache that holds it; "
    "set backbone.name in params.yaml to a folder with the weights; or choose a profile that needs no hub "
    "(make repro PROFILE=compact)."
)
_TOKENIZERS = ("BertTokenizer", "BertTokenizerFast", "ElectraTokenizer", "ElectraTokenizerFast")
_SHAPE = (
    *("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("hidden_act", "max_position_embeddings", "type_vocab_size", "initializer_range", "layer_norm_eps"),
    *("pad_token_id", "attention_probs_dropout_prob"),
)
"""What is taken over of a configuration; the rest of it has no say."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a backbone came from.

    ``revision`` is as asked for, ``commit`` what the hub made of it (None for a folder), ``files`` the SHA-256 of
    each file that is used.
    """

    name: str
    revision: str
    commit: str | None
    files: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def fetch(name: str, revision: str) -> tuple[Path, Origin]:
    """The folder that holds configuration, weights and tokenizer of ``name``, and where they came from.

    ``name`` is an existing folder, or else a name on the hub, of which no more is downloaded than is used. Where the
    hub cannot be reached, its cache answers. Raises BackboneUnavailable with the reason and the ways out.
    """
    try:
        if Path(name).is_dir():
            present, commit = {path.name for path in Path(name).iterdir()}, None
            paths = _collect(present, "the folder", Path(name).joinpath)
        else:
            commit, paths = _from_hub(name, revision)
        return paths[0].parent, Origin(name, revision, commit, {path.name: _digest(path) for path in paths})
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, RuntimeError) as error:
        raise BackboneUnavailable(
            f"backbone.name is {name!r} (revision {revision!r}), which cannot be loaded: {_reason(error)}\n{_WAYS_OUT}"
        ) from error


def load_pretrained(
    folder: Path, num_labels: int, dropout: float, attention_dropout: float | None = None, *, keep_head: bool = False
) -> "PreTrainedModel":
    """A sequence classifier with the encoder of ``folder`` and a new head, in training mode and single precision.

    Whatever head the folder has is ignored, and the new one drawn from torch's default generator, unless
    ``keep_head``. BERT's pooler counts as head where the folder has none. ``dropout`` goes for the encoder and the
    head; ``attention_dropout`` is the folder's own where None. Pickled code is never run. Raises BackboneUnavailable,
    also where a single weight of the encoder, or of the head that is to be kept, is missing, left over or of another
    shape.
    """
    import transformers

    settings = _config(folder / CONFIG_FILE)
    shape = {key: settings[key] for key in _SHAPE if key in settings}
    shape |= {"num_labels": num_labels, "hidden_dropout_prob": dropout}
    if attention_dropout is not None:
        shape["attention_probs_dropout_prob"] = attention_dropout
    try:
        config = transformers.AutoConfig.for_model(settings["model_type"], **shape)
        model: PreTrainedModel = transformers.AutoModelForSequenceClassification.from_config(config)
    except (hub_errors.StrictDataclassError, ValueError, TypeError, KeyError, RuntimeError, ZeroDivisionError) as error:
        raise BackboneUnavailable(f"{folder / CONFIG_FILE} makes no model: {_first_line(error)}") from error
    _adopt(model, _weights(folder), folder, keep_head=keep_head)
    return model


def load_tokenizer_json(folder: Path) -> str:
    """The content of a ``tokenizer.json``: the folder's own, or made from its WordPiece vocabulary.

    Nothing is guessed about the latter: ``do_lower_case`` has to be stated, because lower-casing takes accents away,
    and with them takes Hangul syllables apart. Raises BackboneUnavailable, also where an id is beyond the embeddings.
    """
    files = _tokenizer_files({path.name for path in folder.iterdir()}, str(folder))
    try:
        content = (folder / TOKENIZER_FILE).read_text("utf-8") if TOKENIZER_FILE in files else _wordpiece(folder)
        tokenizer = Tokenizer.from_str(content)
    except Exception as error:  # the library raises bare Exception for every malformed file
        raise BackboneUnavailable(f"{folder} holds no usable tokenizer: {_first_line(error)}") from error
    size = _config(folder / CONFIG_FILE).get("vocab_size")
    own = tokenizer.get_vocab(with_added_tokens=False)
    unusable = [token for token in SPECIAL_TOKENS if token not in own]
    unusable += [token for token, number in tokenizer.get_vocab().items() if isinstance(size, int) and number >= size]
    if unusable:
        raise BackboneUnavailable(f"the vocabulary of {folder}, of {size} entries, lacks {', '.join(unusable[:5])}")
    return content


def _from_hub(name: str, revision: str) -> tuple[str, list[Path]]:
    try:
        info = HfApi().model_info(name, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except (hub_errors.OfflineModeIsEnabled, httpx2.TransportError, hub_errors.HfHubHTTPError) as error:
        if isinstance(error, hub_errors.HfHubHTTPError) and error.response.status_code < 500:
            raise
        place = f"the cache ({constants.HF_HUB_CACHE}), and {_reason(error)}"
        cached = try_to_load_from_cache(name, CONFIG_FILE, revision=revision)
        if not isinstance(cached, str):
            raise BackboneUnavailable(f"it is not in {place}") from error
        folder = Path(cached).parent
        return folder.name, _collect({path.name for path in folder.iterdir()}, place, folder.joinpath)
    present = {sibling.rfilename for sibling in info.siblings or ()}
    if CONFIG_FILE not in present:
        raise _missing(CONFIG_FILE, "the repository")
    folder = Path(hf_hub_download(name, CONFIG_FILE, revision=revision)).parent  # the cache learns the commit with it
    return folder.name, _collect(present, "the repository", partial(_download, name, folder.name))


def _collect(present: Collection[str], place: str, get: Callable[[str], Path]) -> list[Path]:
    """Where the files to use are, once ``get`` got them: cheapest first, so that refusals come before the weights."""
    if CONFIG_FILE not in present:
        raise _missing(CONFIG_FILE, place)
    config = get(CONFIG_FILE)
    _config(config)
    weights = next((file for file in WEIGHTS_FILES if file in present), None)
    if weights is None:
        split = any(file.endswith(".index.json") for file in present)
        hint = " (weights split over several files are not supported)" if split else ""
        raise _missing(f"{' or '.join(WEIGHTS_FILES)}{hint}", place)
    return [config, *(get(file) for file in (*_tokenizer_files(present, place), weights))]


def _tokenizer_files(present: Collection[str], place: str) -> list[str]:
    if TOKENIZER_FILE in present:
        return [TOKENIZER_FILE]
    if not {VOCABULARY_FILE, TOKENIZER_CONFIG_FILE} <= set(present):
        raise _missing(f"{TOKENIZER_FILE}, or {VOCABULARY_FILE} with {TOKENIZER_CONFIG_FILE},", place)
    return [file for file in (VOCABULARY_FILE, TOKENIZER_CONFIG_FILE, TOKENS_FILE) if file in present]


def _download(name: str, commit: str, file: str) -> Path:
    for _ in range(DOWNLOAD_TRIES):
        try:
            return Path(hf_hub_download(name, file, revision=commit))
        except httpx2.ReadError as error:  # a reset
            last: httpx2.TransportError = error
        except httpx2.TransportError as error:  # a body that ended early: the library went on with it several times
            last = error
            break
    raise BackboneUnavailable(f"the download of {file} broke off again and again: {last}") from last


def _digest(path: Path) -> str:
    """SHA-256 of a file, which for a large file in the hub's cache has to be what the hub calls it."""
    found = sha256(path)
    blob = path.readlink() if path.is_symlink() else path
    if blob.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", blob.name) and blob.name != found:
        raise BackboneUnavailable(
            f"file {path.name} is damaged: its SHA-256 is {found}, the hub's {blob.name}; delete {path.parent / blob}"
        )
    return found


def _config(path: Path) -> dict[str, Any]:
    settings = _json(path)
    if settings.get("model_type") not in SUPPORTED_TYPES:
        raise BackboneUnavailable(
            f"{path} is of a {settings.get('model_type')!r} model; it must be one of {', '.join(SUPPORTED_TYPES)}"
        )
    return settings


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneUnavailable(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise BackboneUnavailable(f"{path} is a JSON {type(content).__name__}; it must be an object")
    return content


def _wordpiece(folder: Path) -> str:
    from transformers import BertTokenizer

    file = folder / TOKENIZER_CONFIG_FILE
    settings = _json(file)
    lower, kind = settings.get("do_lower_case"), settings.get("tokenizer_class", "BertTokenizer")
    if not isinstance(lower, bool) or kind not in _TOKENIZERS:
        raise BackboneUnavailable(
            f"{file}: do_lower_case is {lower!r} and tokenizer_class {kind!r}; they must be true or false, "
            f"and one of {', '.join(_TOKENIZERS)}"
        )
    tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
    return str(tokenizer.backend_tokenizer.to_str())


def _weights(folder: Path) -> "dict[str, Tensor]":
    import torch
    from safetensors.torch import load_file

    file = next((folder / name for name in WEIGHTS_FILES if (folder / name).exists()), None)
    if file is None:
        raise _missing(" or ".join(WEIGHTS_FILES), str(folder))
    try:
        with warnings.catch_warnings(action="ignore"):  # about pickle protocols
            safe = file.suffix == ".safetensors"
            content = load_file(file) if safe else torch.load(file, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its message advises to run the code
        raise BackboneUnavailable(f"{file} is no pickle of tensors alone; nothing else in it was run") from error
    except Exception as error:  # both libraries raise whatever a malformed file leads them to
        raise BackboneUnavailable(f"{file} cannot be read: {_first_line(error)}") from error
    if not (isinstance(content, dict) and all(isinstance(tensor, torch.Tensor) for tensor in content.values())):
        raise BackboneUnavailable(f"{file} is no mapping of names to tensors")
    return content


def _adopt(model: "PreTrainedModel", weights: "dict[str, Tensor]", folder: Path, *, keep_head: bool) -> None:
    """Put the encoder of ``weights`` into ``model``, and the head if it is to be kept, all of it or none."""
    prefix = f"{model.base_model_prefix}."
    if not any(name.startswith(prefix) for name in weights):  # saved without a head
        weights = {prefix + name: tensor for name, tensor in weights.items()}
    # position ids are 0, 1, 2, ...: weights no longer
    wanted = {name: t for name, t in model.state_dict().items() if keep_head or name.startswith(prefix)}
    found = {
        name: t
        for name, t in weights.items()
        if (keep_head or name.startswith(prefix)) and not name.endswith(".position_ids")
    }
    if not any(".pooler." in name for name in found):
        wanted = {name: t for name, t in wanted.items() if ".pooler." not in name}
    has, needs = (
        {name: list(t.shape) if t.is_floating_point() else t.dtype for name, t in tensors.items()}
        for tensors in (found, wanted)
    )
    faults = [
        f"{name} is {has.get(name, 'missing')} and should be {needs.get(name, 'absent')}"
        for name in sorted(has | needs)
        if has.get(name) != needs.get(name)
    ]
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise BackboneUnavailable(f"the weights in {folder} do not fit {CONFIG_FILE}: {'; '.join(faults[:3])}{more}")
    model.load_state_dict(found, strict=False)


def _missing(file: str, place: str) -> BackboneUnavailable:
    return BackboneUnavailable(f"file {file} is missing from {place}")


def _reason(error: BaseException) -> str:
    """Why the hub did not give what was asked for, in our words."""
    if isinstance(error, hub_errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        return _reason(error.__cause__)
    if isinstance(error, hub_errors.RepositoryNotFoundError):
        return f"{constants.ENDPOINT} has no such repository (one that is private or gated needs HF_TOKEN)"
    if isinstance(error, hub_errors.RevisionNotFoundError):
        return "the repository has no such revision"
    if isinstance(error, hub_errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, hub_errors.HfHubHTTPError):
        return f"{constants.ENDPOINT} answers {error.response.status_code}"
    if isinstance(error, httpx2.TransportError):
        return f"{constants.ENDPOINT} cannot be reached: {error}"
    if isinstance(error, hub_errors.HFValidationError):
        return "it is neither a folder that is there nor the form of a name on the hub"
    if isinstance(error, json.JSONDecodeError):
        return f"{constants.ENDPOINT} does not answer like a hub"
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
