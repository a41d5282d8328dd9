"""Pretraining on unlabelled reviews by replaced token detection (ELECTRA; Clark et al., 2020), as a task for the loop.

A small generator learns to fill in hidden tokens; the discriminator, which is the classifier's own encoder, learns to
tell which tokens the generator has changed. Where the paper leaves something open, this does what its authors' code
does (github.com/google-research/electra). Afterwards the generator is thrown away.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import ElectraConfig, ElectraModel, PreTrainedModel
from transformers.models.electra.modeling_electra import (
    ElectraDiscriminatorPredictions,
    ElectraGeneratorPredictions,
)

from training.batches import TokenBatches, collate
from training.config import Schedule
from training.dropout import with_byte_dropout
from training.errors import ConfigError
from training.finetune import SpecialIds

Rows = Sequence[Sequence[int]]

_ENCODER = "discriminator."
"""What the names of the encoder's weights begin with among those of ``Detection``."""

HIDDEN_SHARE = 0.85
"""Of the chosen tokens, so many are hidden from the generator; the others it sees, and predicts all the same. So does
the authors' code (``mask`` in ``pretrain_helpers.py``); the paper's formula hides all."""


@dataclass(frozen=True, slots=True)
class Pretraining(Schedule):
    """Settings of one pretraining; 0 ``epochs`` mean that there is none.

    ``mask_fraction`` of the tokens are chosen to be predicted, ``generator_fraction`` is the generator's width as a
    share of the discriminator's, and ``discriminator_weight`` is the paper's lambda. The defaults are ELECTRA-small's.
    """

    section: ClassVar[str] = "pretrain"
    least_epochs: ClassVar[int] = 0

    epochs: int = 0
    learning_rate: float = 5e-4
    mask_fraction: float = 0.15
    generator_fraction: float = 0.25
    discriminator_weight: float = 50.0

    def __post_init__(self) -> None:
        Schedule.__post_init__(self)
        self._check("mask_fraction", 0.0 < self.mask_fraction < 1.0, "above 0 and below 1")
        self._check("generator_fraction", 0.0 < self.generator_fraction <= 1.0, "above 0 and at most 1")
        self._check("discriminator_weight", 0.0 < self.discriminator_weight <= 1000.0, "above 0 and at most 1000")


class Masking:
    """Which tokens of a row are to be predicted: ``fraction`` of those that are not special, at random."""

    def __init__(self, fraction: float, ids: SpecialIds) -> None:
        self._fraction, self._hidden_id = fraction, ids.mask
        self._special = torch.tensor([ids.pad, ids.first, ids.last, ids.mask])

    def special(self, ids: Tensor) -> Tensor:
        """Which of ``ids``, of any shape and on the CPU, are special tokens'."""
        return torch.isin(ids, self._special)

    def count(self, candidates: Tensor) -> Tensor:
        """How many tokens are chosen of so many candidates: the fraction, rounded, but one at least if there is one."""
        return torch.minimum((candidates * self._fraction).round().clamp(min=1.0), candidates)

    def means(self, rows: Rows) -> tuple[float, float]:
        """How many tokens of a row are chosen, and how many it has, on average over ``rows``."""
        special = torch.tensor([sum(row.count(one) for one in self._special.tolist()) for row in rows])
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.float32)
        return float(self.count(lengths - special).mean()), float(lengths.mean())

    def draw(self, ids: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """What ``Detection`` wants beside ``input_ids`` (B, T).

        All chance in the objective is drawn here, on the CPU, from ``generator`` or torch's own: so it is the same on
        every device and part of a checkpoint.
        """
        order, hiding, sampling = torch.rand((3, *ids.shape), generator=generator)  # (B, T) each
        special = self.special(ids)
        order.masked_fill_(special, 2.0)  # behind all others
        count = self.count((~special).sum(dim=1, keepdim=True).float())  # (B, 1)
        chosen = order.argsort(dim=1).argsort(dim=1) < count
        hidden = chosen & (hiding < HIDDEN_SHARE)
        return {"masked_ids": ids.masked_fill(hidden, self._hidden_id), "chosen": chosen, "sampling": sampling}


class Found(NamedTuple):
    """What came of a batch: the ``losses`` (B,), and of each token (B, T) a score and whether it was replaced.

    The score is the log-odds that the discriminator gives to its having been replaced.
    """

    losses: Tensor
    scores: Tensor
    replaced: Tensor


class Detection(nn.Module):
    """Generator and discriminator as one module, whose embeddings are one: the discriminator's, as in the paper.

    The loss of a batch is the paper's: the mean cross entropy of the chosen tokens, and lambda times the mean binary
    cross entropy of all tokens but padding. As reviews and not tokens are what the loop weighs, the loss of a review is
    the sum over its tokens, divided by how many an average review has: so a token weighs the same in any review.
    """

    def __init__(
        self, discriminator: ElectraModel, config: Pretraining, mean_chosen: float, mean_length: float
    ) -> None:
        """``mean_chosen`` and ``mean_length`` are those of the reviews to be learned from, in tokens."""
        super().__init__()
        narrow = _narrowed(discriminator.config, config.generator_fraction)
        self.discriminator = discriminator
        self.discriminator_head = ElectraDiscriminatorPredictions(discriminator.config)
        self.generator = ElectraModel(narrow)
        self.generator.add_module("embeddings", _Embedded())
        self.generator_head = ElectraGeneratorPredictions(narrow)
        self.generator_bias = nn.Parameter(torch.zeros(narrow.vocab_size))
        for head in (self.discriminator_head, self.generator_head):
            head.apply(discriminator._init_weights)
        self._entropy_weight = 1.0 / mean_chosen
        self._doubt_weight = config.discriminator_weight / mean_length

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, masked_ids: Tensor, chosen: Tensor, sampling: Tensor
    ) -> Found:
        """All are (B, T); see ``Masking.draw``. Where nothing is chosen, the discriminator sees ``input_ids``."""
        likelihood = self._generate(masked_ids, attention_mask, chosen)  # (M, V)
        entropy = functional.nll_loss(likelihood, input_ids[chosen], reduction="none")  # (M,)
        replaced_ids = input_ids.masked_scatter(chosen, _sample(likelihood, sampling[chosen]))
        replaced = replaced_ids != input_ids
        hidden = self.discriminator(replaced_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, H)
        scores = self.discriminator_head(hidden).float()
        doubt = functional.binary_cross_entropy_with_logits(scores, replaced.float(), reduction="none")
        losses = (
            torch.zeros_like(scores).masked_scatter(chosen, entropy).sum(dim=1) * self._entropy_weight
            + (doubt * attention_mask).sum(dim=1) * self._doubt_weight
        )
        return Found(losses, scores, replaced)

    def _generate(self, masked_ids: Tensor, attention_mask: Tensor, chosen: Tensor) -> Tensor:
        """(M, V) log-likelihood of every token in the M chosen places, and nowhere else: it is a costly product."""
        embedded = self.discriminator.embeddings(input_ids=masked_ids)  # (B, T, E)
        hidden = self.generator(inputs_embeds=embedded, attention_mask=attention_mask).last_hidden_state  # (B, T, G)
        words = self.discriminator.embeddings.word_embeddings.weight  # (V, E)
        logits = functional.linear(self.generator_head(hidden[chosen]), words, self.generator_bias)
        return functional.log_softmax(logits.float(), dim=-1)


class _Embedded(nn.Module):
    """Stands for the embeddings of a model whose inputs come embedded."""

    def forward(self, inputs_embeds: Tensor, **_: object) -> Tensor:
        return inputs_embeds


def _narrowed(config: ElectraConfig, fraction: float) -> ElectraConfig:
    """The generator's configuration: as many layers as the discriminator has, each narrower."""
    narrow = deepcopy(config)
    narrow.num_attention_heads = max(1, round(config.num_attention_heads * fraction))
    head_width = max(1, round(config.hidden_size * fraction / narrow.num_attention_heads))
    narrow.hidden_size = head_width * narrow.num_attention_heads
    narrow.intermediate_size = max(1, round(config.intermediate_size * fraction))
    return narrow


@torch.no_grad()
def _sample(likelihood: Tensor, uniform: Tensor) -> Tensor:
    """(M,) tokens, one from each of (M, V) log-likelihoods, by inversion of the cumulated likelihood at ``uniform``.

    The authors' code adds Gumbel noise: the same distribution, for V random numbers and 2 V logarithms a token.
    """
    cumulated = likelihood.exp().cumsum(dim=-1)  # (M, V)
    level = uniform[:, None] * cumulated[:, -1:]  # (M, 1)
    return torch.searchsorted(cumulated, level, right=True).squeeze(1).clamp(max=likelihood.shape[1] - 1)


class ReplacedTokens:
    """Learns from ``train`` and is judged on ``held_out``, unlabelled token id rows.

    The encoder of ``classifier`` is trained in place, and its head left as it is: once ``training.loop.train`` has
    returned, the classifier holds the best epoch's encoder.
    """

    def __init__(
        self, classifier: PreTrainedModel, train: Rows, held_out: Rows, config: Pretraining, ids: SpecialIds
    ) -> None:
        """Draws the generator and the heads with the configuration's seed. Raises ConfigError for all but ELECTRA."""
        self._train, self._held_out = train, held_out
        self._pad_id, self._seed = ids.pad, config.seed
        self._masking = Masking(config.mask_fraction, ids)
        self.batches = TokenBatches([len(row) for row in train], config.batch_tokens, config.seed)
        self._held_out_batches = TokenBatches([len(row) for row in held_out], config.batch_tokens, config.seed).epoch(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model: nn.Module = Detection(_encoder(classifier), config, *self._masking.means(train))
        with_byte_dropout(self.model)

    def learn(self, model: nn.Module, rows: Sequence[int], backward: Callable[[Tensor], None]) -> Tensor:
        """One pass; see ``Task``."""
        inputs = collate([self._train[row] for row in rows], self._pad_id)
        inputs |= self._masking.draw(inputs["input_ids"])
        losses = _run(model, inputs).losses
        backward(losses)
        return losses.detach()

    @torch.inference_mode()
    def judge(self, model: nn.Module) -> tuple[float, float]:
        """Mean loss a review, and balanced accuracy (1/2 is guessing) in telling replaced tokens from original ones.

        The tokens of the second are not the generator's, but drawn from all held-out rows: the same at any time, while
        the generator's get ever fewer and harder, so that the first epoch would seem to be the best.
        """
        chance = torch.Generator().manual_seed(self._seed)  # torch's own must not know whether dev was judged
        pool = torch.tensor([token for row in self._held_out for token in row])
        pool = pool[~self._masking.special(pool)]
        was_training = model.training
        model.eval()
        loss, scores, replaced = 0.0, list[Tensor](), list[Tensor]()
        for batch in self._held_out_batches:
            inputs = collate([self._held_out[row] for row in batch], self._pad_id)
            ids = inputs["input_ids"]  # (B, T)
            drawn = self._masking.draw(ids, chance)
            loss += float(_run(model, inputs | drawn).losses.sum())
            chosen = drawn["chosen"]
            others = pool[torch.randint(len(pool), (int(chosen.sum()),), generator=chance)]
            corrupt = ids.masked_scatter(chosen, others)
            found = _run(model, inputs | drawn | {"input_ids": corrupt, "chosen": torch.zeros_like(chosen)})
            real = ~self._masking.special(ids)
            scores.append(found.scores.cpu()[real])
            replaced.append((corrupt != ids)[real])
        model.train(was_training)
        return loss / len(self._held_out), balanced_accuracy(torch.cat(scores), torch.cat(replaced))


def _run(model: nn.Module, inputs: dict[str, Tensor]) -> Found:
    device = next(model.parameters()).device
    found: Found = model(**{name: tensor.to(device) for name, tensor in inputs.items()})
    return found


def balanced_accuracy(scores: Tensor, positive: Tensor) -> float:
    """Mean of the shares of positives and of others that are told rightly, given each one's log-odds (N,).

    A score above the log-odds of a positive at large counts as one: so the measure asks for more than the knowledge of
    how many there are.
    """
    share = positive.float().mean()
    found = scores > torch.logit(share)
    return float((found[positive].float().mean() + (~found[~positive]).float().mean()) / 2.0)


def encoder_into(classifier: PreTrainedModel, weights: Mapping[str, Tensor]) -> None:
    """Load the encoder out of a pretraining's ``Outcome.weights``: they are whole, where its own may be sharded.

    Raises ConfigError for all but ELECTRA.
    """
    kept = {name: weight for name, weight in weights.items() if name.startswith(_ENCODER)}
    _encoder(classifier).load_state_dict({name.removeprefix(_ENCODER): weight for name, weight in kept.items()})


def _encoder(classifier: PreTrainedModel) -> ElectraModel:
    encoder = getattr(classifier, "electra", None)
    if isinstance(encoder, ElectraModel):
        return encoder
    raise ConfigError(
        f"backbone.name is {classifier.name_or_path!r}, a {classifier.config.model_type!r} model; "
        "it must be an 'electra' model where pretrain.epochs is above 0"
    )
