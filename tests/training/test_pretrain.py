"""Replaced token detection of a tiny model in a toy language: each text is one word, again and again."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ElectraForSequenceClassification,
    PreTrainedModel,
)

from tests.training.toy import Recorder, digest
from training.batches import collate
from training.config import Architecture, Training, electra_settings
from training.errors import ConfigError
from training.finetune import FineTuning, SpecialIds, Split
from training.loop import train
from training.pretrain import (
    Detection,
    Masking,
    Pretraining,
    ReplacedTokens,
    _sample,
    balanced_accuracy,
    encoder_into,
)
from training.reports import Outcome

pytestmark = pytest.mark.usefixtures("one_thread")
IDS = SpecialIds(pad=0, first=2, last=3, mask=4)
SPECIAL = {0, 2, 3, 4}
WORDS = range(5, 13)
CONFIG = Pretraining(
    epochs=8,
    batch_tokens=200,
    learning_rate=1e-2,
    precision="fp32",
    seed=7,
    log_every_steps=2,
    checkpoint_every_steps=3,
)
SHORT = replace(CONFIG, epochs=2, average_decay=0.9)


def corpus(count: int, seed: int) -> list[list[int]]:
    generator = random.Random(seed)
    return [[IDS.first, *[generator.choice(WORDS)] * generator.randrange(4, 9), IDS.last] for _ in range(count)]


def classifier(dropout: float = 0.0, embedding: int = 16) -> PreTrainedModel:
    # weights as small as a wide model's would let so narrow a one learn nothing for long
    shape = Architecture(
        layers=1, hidden=32, heads=2, embedding=embedding, feed_forward=64, vocabulary=256, initializer_range=0.2
    )
    torch.manual_seed(1)
    model = ElectraForSequenceClassification(ElectraConfig(**electra_settings(shape, dropout, 0.0)))
    assert isinstance(model, PreTrainedModel)
    return model


def task(model: PreTrainedModel, config: Pretraining = CONFIG) -> ReplacedTokens:
    return ReplacedTokens(model, corpus(400, seed=1), corpus(80, seed=2), config, IDS)


def run(
    folder: Path, config: Pretraining = CONFIG, listener: Recorder | None = None, dropout: float = 0.0
) -> tuple[PreTrainedModel, Outcome]:
    model = classifier(dropout)
    listener = listener or Recorder()
    outcome = train(task(model, config), config, listener=listener, checkpoint=folder / "checkpoint", cpu=True)
    return model, outcome


def batch(rows: list[list[int]], seed: int = 0, fraction: float = 0.15) -> dict[str, Tensor]:
    inputs = collate(rows, IDS.pad)
    return inputs | Masking(fraction, IDS).draw(inputs["input_ids"], torch.Generator().manual_seed(seed))


def detection(model: PreTrainedModel, rows: list[list[int]], config: Pretraining = CONFIG) -> Detection:
    """With weights that are all their own, so that none can be mistaken for another."""
    found = ReplacedTokens(model, rows, rows, config, IDS).model
    assert isinstance(found, Detection)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return found.eval()


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, Outcome]:
    torch.set_num_threads(1)
    return run(tmp_path_factory.mktemp("learned"))


def test_it_learns_to_tell_replaced_tokens(learned: tuple[PreTrainedModel, Outcome]) -> None:
    _, outcome = learned
    assert outcome.epochs[0].dev_accuracy < 0.75
    assert outcome.best.dev_accuracy > 0.9
    assert outcome.epochs[-1].dev_loss < 0.5 * outcome.epochs[0].dev_loss
    assert outcome.steps[-1].loss < 0.5 * outcome.steps[0].loss


def test_the_encoder_is_trained_in_place_and_the_head_left_alone(learned: tuple[PreTrainedModel, Outcome]) -> None:
    model, outcome = learned
    after = model.state_dict()
    for name, before in classifier().state_dict().items():
        assert torch.equal(before, after[name]) == name.startswith("classifier."), name
    fresh = classifier()
    encoder_into(fresh, outcome.weights)
    assert digest(fresh) == digest(model), "the outcome holds the same encoder"


def test_fine_tuning_goes_on_from_there(learned: tuple[PreTrainedModel, Outcome], tmp_path: Path) -> None:
    model = classifier()
    encoder_into(model, learned[1].weights)
    rows, dev = corpus(200, seed=3), corpus(60, seed=4)
    known, asked = (Split(part, [float(row[1] < WORDS[4]) for row in part]) for part in (rows, dev))
    config = Training(epochs=6, batch_tokens=200, learning_rate=5e-3, precision="fp32")
    fine_tuning = FineTuning(model, known, asked, config, IDS)
    outcome = train(fine_tuning, config, listener=Recorder(), checkpoint=tmp_path / "checkpoint", cpu=True)
    assert outcome.best.dev_accuracy > 0.95


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, Outcome]:
    torch.set_num_threads(1)
    return run(tmp_path_factory.mktemp("whole"), SHORT, dropout=0.1)


@pytest.mark.parametrize("step", [2, 8, 20], ids=["before any checkpoint", "after a checkpoint", "after an epoch"])
def test_an_interrupted_run_goes_on_to_the_same_weights_and_reports(
    tmp_path: Path, uninterrupted: tuple[PreTrainedModel, Outcome], step: int
) -> None:
    whole, expected = uninterrupted
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, SHORT, Recorder(stop_at_step=step), dropout=0.1)
    resumed, outcome = run(tmp_path, SHORT, dropout=0.1)
    assert digest(resumed) == digest(whole)
    assert outcome.epochs == expected.epochs
    assert [report.loss for report in outcome.steps] == [report.loss for report in expected.steps]
    assert all(torch.equal(weight, expected.weights[name]) for name, weight in outcome.weights.items())


def test_two_runs_are_the_same_to_the_bit(tmp_path: Path, uninterrupted: tuple[PreTrainedModel, Outcome]) -> None:
    torch.rand(5)  # what was drawn before does not matter
    assert digest(run(tmp_path, SHORT, dropout=0.1)[0]) == digest(uninterrupted[0])


def test_judging_is_repeatable_and_leaves_no_trace() -> None:
    judged = task(classifier(dropout=0.1))
    judged.model.train()
    state, weights = torch.get_rng_state(), [weight.clone() for weight in judged.model.parameters()]
    first = judged.judge(judged.model)
    assert torch.equal(torch.get_rng_state(), state)
    assert judged.model.training
    assert all(torch.equal(*pair) for pair in zip(weights, judged.model.parameters(), strict=True))
    assert judged.judge(judged.model) == first


@pytest.mark.parametrize("embedding", [16, 32], ids=["projected", "as wide as the encoder"])
def test_the_loss_is_what_transformers_own_models_say(embedding: int) -> None:
    """Generator by ElectraForMaskedLM, discriminator by ElectraForPreTraining, both over whole texts."""
    rows = [[IDS.first, *range(10, 10 + words), IDS.last] for words in (4, 9, 1, 30)]
    found = detection(classifier(embedding=embedding), rows)
    inputs = batch(rows)
    ids, mask, chosen = inputs["input_ids"], inputs["attention_mask"], inputs["chosen"]
    generator = ElectraForMaskedLM(found.generator.config).eval()
    generator.electra = found.generator
    generator.electra.embeddings = found.discriminator.embeddings
    generator.generator_predictions = found.generator_head
    generator.generator_lm_head.weight = found.discriminator.embeddings.word_embeddings.weight
    generator.generator_lm_head.bias = found.generator_bias
    logits = generator(input_ids=inputs["masked_ids"], attention_mask=mask).logits[chosen]
    replaced_ids = ids.masked_scatter(chosen, _sample(logits.log_softmax(-1), inputs["sampling"][chosen]))
    discriminator = ElectraForPreTraining(found.discriminator.config).eval()
    discriminator.electra = found.discriminator
    discriminator.discriminator_predictions = found.discriminator_head
    replaced = replaced_ids != ids
    detected = discriminator(input_ids=replaced_ids, attention_mask=mask, labels=replaced.long())
    expected = functional.cross_entropy(logits, ids[chosen]) + 50.0 * detected.loss
    again = detection(classifier(embedding=embedding), rows)(**inputs)
    assert replaced.any()
    assert torch.equal(again.replaced, replaced)
    torch.testing.assert_close(again.scores, detected.logits)
    torch.testing.assert_close(again.losses.mean(), expected)


def test_generator_and_discriminator_share_their_embeddings() -> None:
    rows = corpus(8, seed=1)
    found = detection(classifier(), rows)
    shapes = [tuple(parameter.shape) for parameter in found.parameters()]
    assert shapes.count((256, 16)) == 1
    pointers = [weight.data_ptr() for weight in found.state_dict().values()]
    assert len(set(pointers)) == len(pointers), "no weight is kept twice"
    inputs = batch(rows)
    found._generate(inputs["masked_ids"], inputs["attention_mask"], inputs["chosen"]).sum().backward()
    embeddings = found.discriminator.embeddings
    for shared in (embeddings.word_embeddings, embeddings.position_embeddings, embeddings.token_type_embeddings):
        assert shared.weight.grad is not None
        assert shared.weight.grad.abs().sum() > 0, "the generator learns them, too"
    assert all(parameter.grad is None for parameter in found.discriminator.encoder.parameters())


def test_the_discriminator_teaches_the_generator_nothing() -> None:
    rows = corpus(8, seed=1)
    found = detection(classifier(), rows)
    inputs = batch(rows)
    inputs["chosen"] = torch.zeros_like(inputs["chosen"])
    found(**inputs).losses.sum().backward()
    learning = {name for name, weight in found.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert "discriminator_head.dense.weight" in learning
    assert not any(name.startswith("generator") for name in learning)


def test_the_generator_is_narrow_and_every_dropout_draws_bytes() -> None:
    found = task(classifier(dropout=0.1)).model
    assert isinstance(found, Detection)
    narrow = found.generator.config
    assert (narrow.hidden_size, narrow.num_attention_heads, narrow.intermediate_size) == (8, 1, 16)
    assert narrow.num_hidden_layers == found.discriminator.config.num_hidden_layers
    assert not any(isinstance(module, nn.Dropout) for module in found.modules())
    assert float(found.discriminator_head.dense.weight.detach().std()) == pytest.approx(0.2, rel=0.1)


def test_chosen_tokens_are_the_fraction_asked_for_at_random_and_never_special() -> None:
    rows = [[IDS.first, *range(10, 10 + words), IDS.last] for words in (0, 1, 3, 10, 100)]
    times = torch.zeros(5, 102)
    for seed in range(300):
        inputs = batch(rows, seed)
        ids, chosen = inputs["input_ids"], inputs["chosen"]
        assert chosen.sum(dim=1).tolist() == [0, 1, 1, 2, 15]
        assert not SPECIAL & set(ids[chosen].tolist())
        hidden = inputs["masked_ids"] != ids
        assert not (hidden & ~chosen).any()
        assert (inputs["masked_ids"][hidden] == IDS.mask).all()
        times += chosen
    assert times[4, 1:101].min() > 20, "no place is spared"
    assert times[4, 1:101].max() < 80, "none is preferred: 45 times are expected"


def test_most_of_the_chosen_tokens_are_hidden() -> None:
    inputs = batch([[IDS.first, *range(10, 4010), IDS.last]], fraction=0.5)
    hidden = (inputs["masked_ids"] == IDS.mask).sum() / inputs["chosen"].sum()
    assert float(hidden) == pytest.approx(0.85, abs=0.03)


def test_texts_without_a_word_teach_only_that_nothing_was_replaced() -> None:
    rows = [[IDS.first, IDS.last]] * 2
    found = detection(classifier(), corpus(8, seed=1))
    losses, scores, replaced = found(**batch(rows))
    assert not replaced.any()
    mean_length = Masking(0.15, IDS).means(corpus(8, seed=1))[1]
    torch.testing.assert_close(losses, functional.softplus(scores).sum(dim=1) * 50.0 / mean_length)
    losses.sum().backward()


def test_padding_changes_nothing() -> None:
    short, long = [IDS.first, 6, 7, 8, IDS.last], [IDS.first, *range(20, 60), IDS.last]
    found = detection(classifier(), [short, long])
    inputs = batch([short, long])
    alone = {name: tensor[:1, : len(short)] for name, tensor in inputs.items()}
    torch.testing.assert_close(found(**inputs).losses[:1], found(**alone).losses)


def test_samples_follow_the_likelihood() -> None:
    likelihood = torch.tensor([[0.1, 0.0, 0.2, 0.7]]).log()
    uniform = torch.rand(20000, generator=torch.Generator().manual_seed(0))
    shares = _sample(likelihood.expand(20000, 4), uniform).bincount(minlength=4) / 20000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.0, 0.2, 0.7]), atol=0.01, rtol=0.0)
    assert _sample(likelihood.expand(2, 4), torch.tensor([0.0, 1.0])).tolist() == [0, 3]


def test_balanced_accuracy() -> None:
    positive = torch.tensor([True, False, False, False])
    assert balanced_accuracy(torch.tensor([-0.5, -2.0, -3.0, -4.0]), positive) == 1.0
    assert balanced_accuracy(torch.tensor([-5.0, -5.0, -5.0, -5.0]), positive) == 0.5
    assert balanced_accuracy(torch.tensor([1.0, 1.0, -3.0, -4.0]), positive) == pytest.approx(5 / 6)


def test_only_electra_is_pretrained() -> None:
    shape: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = BertForSequenceClassification(BertConfig(vocab_size=256, intermediate_size=16, **shape))
    with pytest.raises(ConfigError, match=r"backbone\.name is .* a 'bert' model; it must be an 'electra' model"):
        task(model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": -1}, r"pretrain\.epochs is -1; it must be at least 0"),
        ({"mask_fraction": 0.0}, r"pretrain\.mask_fraction is 0\.0; it must be above 0 and below 1"),
        ({"generator_fraction": 1.5}, r"pretrain\.generator_fraction is 1\.5; it must be above 0 and at most 1"),
        ({"discriminator_weight": 0.0}, r"pretrain\.discriminator_weight is 0\.0"),
        ({"learning_rate": 2.0}, r"pretrain\.learning_rate is 2\.0"),
        ({"seed": -1}, r"pretrain\.seed is -1"),
    ],
)
def test_settings_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Pretraining(**changes)


def test_no_pretraining_is_the_default_and_no_training_is_not_allowed() -> None:
    assert Pretraining().epochs == 0
    with pytest.raises(ConfigError, match=r"train\.epochs is 0; it must be at least 1"):
        Training(epochs=0)
