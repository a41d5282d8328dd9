"""The last layer of an encoder, for the first token alone: a classifier reads no other.

Of the last layer's work only keys and values are needed for every token; query, projection and feed-forward network
are not. Same mathematics, 5/6 of a layer less: a quarter of a model of three layers, a fifteenth of one of twelve.
"""

from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

ATTENTION = ("sdpa", "eager")
"""Implementations whose mask is a (B, 1, T, T) tensor or none, which is what ``_first_token`` takes."""


def with_first_token_only(model: PreTrainedModel) -> None:
    """Let ``model``, an ELECTRA or BERT sequence classifier, compute in its last layer what its head reads.

    Its ``last_hidden_state`` becomes (B, 1, H). Weights and their names stay. A model whose attention is another
    implementation's is left as it is.
    """
    if model.config._attn_implementation in ATTENTION:
        encoder: Any = model.base_model.get_submodule("encoder")
        layer = encoder.layer[-1]
        layer.forward = partial(_first_token, layer)


def _first_token(
    layer: Any, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: object, **__: object
) -> Tensor:
    """(B, T, H) to (B, 1, H): what ``BertLayer`` and its copy ``ElectraLayer`` make of the first token."""
    attention, output = layer.attention.self, layer.attention.output
    first = hidden_states[:, :1]

    def heads(projected: Tensor) -> Tensor:  # (B, T, H) to (B, heads, T, H / heads)
        split: Tensor = projected.unflatten(-1, (attention.num_attention_heads, -1))
        return split.transpose(1, 2)

    mixed = nn.functional.scaled_dot_product_attention(
        heads(attention.query(first)),
        heads(attention.key(hidden_states)),
        heads(attention.value(hidden_states)),
        attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
        dropout_p=attention.dropout.p if layer.training else 0.0,
        scale=attention.scaling,
    )
    result: Tensor = layer.feed_forward_chunk(output(mixed.transpose(1, 2).flatten(2), first))
    return result
