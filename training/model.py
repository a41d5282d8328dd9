"""The classifier and its tokenizer: from the hub, from a folder, or from scratch."""

from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    ElectraConfig,
    ElectraForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from data.encode import TOKENIZER_FILE
from data.labels import NAMES
from training.config import Backbone, electra_settings
from training.errors import BackboneUnavailable
from training.vocabulary import train_tokenizer

_SUPPORTED_TYPES = ("electra", "bert")


def build(backbone: Backbone, texts: Iterable[str], seed: int) -> tuple[PreTrainedModel, str]:
    """A model ready to be trained, and the content of its ``tokenizer.json``.

    From scratch, the vocabulary is learned from ``texts`` (cleaned) and the weights are drawn with ``seed``, as is
    the new head of pretrained weights. Otherwise both come from the hub or a folder; raises
    BackboneUnavailable where they cannot.
    """
    torch.manual_seed(seed)
    if backbone.architecture is None:
        return _pretrained(backbone)
    tokenizer = train_tokenizer(texts, backbone.architecture.vocabulary)
    settings = electra_settings(backbone.architecture, backbone.dropout)
    settings["vocab_size"] = tokenizer.get_vocab_size()  # few texts have fewer pieces than were asked for
    config = ElectraConfig(**settings)
    config.num_labels = len(NAMES)
    return ElectraForSequenceClassification(config), tokenizer.to_str()


def save(model: PreTrainedModel, tokenizer_json: str, folder: Path) -> None:
    """Write weights (safetensors), configuration and tokenizer into ``folder``, which exists."""
    model.save_pretrained(folder, safe_serialization=True)
    (folder / TOKENIZER_FILE).write_text(tokenizer_json, encoding="utf-8")


def load(folder: Path) -> PreTrainedModel:
    """The model that ``save`` wrote, in evaluation mode; reads safetensors only."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    return model.eval()  # type: ignore[no-any-return]


def model_type(model: PreTrainedModel) -> str:
    """The architecture's name as the REST contract spells it, for example ``ELECTRA``."""
    return str(model.config.model_type).upper()


def _pretrained(backbone: Backbone) -> tuple[PreTrainedModel, str]:
    try:
        config = AutoConfig.from_pretrained(backbone.name, revision=backbone.revision, num_labels=len(NAMES))
        if config.model_type not in _SUPPORTED_TYPES:
            raise BackboneUnavailable(
                f"backbone.name is {backbone.name!r}, a {config.model_type!r} model; "
                f"it must be one of {', '.join(_SUPPORTED_TYPES)}"
            )
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = backbone.dropout
        tokenizer = AutoTokenizer.from_pretrained(backbone.name, revision=backbone.revision, use_fast=True)
        model = AutoModelForSequenceClassification.from_pretrained(
            backbone.name, revision=backbone.revision, config=config, dtype=torch.float32
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BackboneUnavailable(
            f"backbone.name is {backbone.name!r} (revision {backbone.revision!r}), which cannot be loaded: {reason}\n"
            "Ways out: go online; set HF_ENDPOINT to a mirror of the hub; set HF_HOME to a cache that holds it; "
            "set backbone.name in params.yaml to a folder with the weights; or choose a profile that needs no hub "
            "(make repro PROFILE=compact)."
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise BackboneUnavailable(f"backbone.name is {backbone.name!r}, whose tokenizer has no fast form")
    return model, tokenizer.backend_tokenizer.to_str()
