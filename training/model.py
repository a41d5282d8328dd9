"""The classifier and its tokenizer: from the hub, from a folder, or from scratch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    PreTrainedModel,
)

from data.encode import TOKENIZER_FILE, Encoder
from data.labels import NAMES
from training.config import Backbone, electra_settings
from training.errors import BackboneUnavailable, SaveFailed
from training.first_token import with_first_token_only
from training.hub import WEIGHTS_FILES, Origin, fetch, load_pretrained, load_tokenizer_json
from training.vocabulary import train_tokenizer

_EMBEDDINGS = "electra.embeddings.word_embeddings.weight"


@dataclass(frozen=True, slots=True)
class Start:
    """What training starts from: a model, the content of its ``tokenizer.json``, and where its weights came from."""

    model: PreTrainedModel
    tokenizer_json: str
    origin: Origin | None


def build(backbone: Backbone, texts: Iterable[str]) -> Start:
    """A model ready to be trained.

    From scratch, the vocabulary is learned from ``texts`` (cleaned), as its embeddings may be, and all other weights
    are drawn with the backbone's seed, as is the new head of pretrained ones, which come from the hub or a folder;
    raises BackboneUnavailable where they cannot be had.
    """
    torch.manual_seed(backbone.seed)
    if backbone.architecture is None:
        folder, origin = fetch(backbone.folder or backbone.name, backbone.revision)
        _check_pin(backbone, origin)
        model = load_pretrained(
            folder, len(NAMES), backbone.dropout, backbone.attention_dropout, keep_head=backbone.keep_head
        )
        return Start(model, load_tokenizer_json(folder), origin)
    texts = list(texts)
    tokenizer = train_tokenizer(texts, backbone.architecture.vocabulary)
    settings = electra_settings(backbone.architecture, backbone.dropout, backbone.attention_dropout)
    settings["vocab_size"] = tokenizer.get_vocab_size()  # few texts have fewer pieces than were asked for
    config = ElectraConfig(**settings)
    config.num_labels = len(NAMES)
    model = ElectraForSequenceClassification(config)
    if backbone.architecture.embeddings == "cooccurrence":
        _embed(model, Encoder(tokenizer.to_str(), config.max_position_embeddings), texts, backbone.seed)
    return Start(model, tokenizer.to_str(), None)


def _embed(model: PreTrainedModel, encoder: Encoder, texts: Sequence[str], seed: int) -> None:
    from training.embeddings import cooccurrence_embeddings  # scikit-learn, which nothing else here needs

    vocabulary, dimensions = model.get_parameter(_EMBEDDINGS).shape
    rows = [row[1:-1] for row in encoder.encode(texts, truncate=True)]  # without [CLS] and [SEP]
    embed(model, torch.from_numpy(cooccurrence_embeddings(rows, vocabulary, dimensions, seed)))


def embed(model: PreTrainedModel, found: Tensor) -> None:
    """Let the embeddings of all tokens that stand beside others begin where ``found`` (V, E), of size 1, says."""
    weight = model.get_parameter(_EMBEDDINGS)
    with torch.no_grad():
        weight.copy_(torch.where(found.any(dim=1, keepdim=True), found * model.config.initializer_range, weight))


def _check_pin(backbone: Backbone, origin: Origin) -> None:
    found = next(digest for file, digest in origin.files.items() if file in WEIGHTS_FILES)
    if backbone.sha256 not in (None, found):
        raise BackboneUnavailable(
            f"backbone.sha256 is {backbone.sha256}; the weights of {origin.name} have {found}; pin these or take others"
        )


def save(model: PreTrainedModel, tokenizer_json: str, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
    """Write weights (safetensors; the model's own unless given), configuration and tokenizer into ``folder``."""
    try:
        # it empties the mapping that it is given
        model.save_pretrained(folder, state_dict=dict(weights) if weights else None, safe_serialization=True)
    except SafetensorError as error:
        raise SaveFailed(
            f"the weights cannot be written to {folder.parent}: {error}; free some space there and run the same "
            "command again"
        ) from error
    (folder / TOKENIZER_FILE).write_text(tokenizer_json, encoding="utf-8")


def load(folder: Path) -> PreTrainedModel:
    """The model that ``save`` wrote, in evaluation mode; reads safetensors only."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    with_first_token_only(model)
    return model.eval()  # type: ignore[no-any-return]


def model_type(model: PreTrainedModel) -> str:
    """The architecture's name as the REST contract spells it, for example ``ELECTRA``."""
    return str(model.config.model_type).upper()
