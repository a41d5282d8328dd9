import json
import os
import pickle
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import save
from tokenizers import BertWordPieceTokenizer
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForPreTraining,
    ElectraConfig,
    ElectraForPreTraining,
    PreTrainedModel,
)

from data.encode import Encoder
from data.files import sha256
from tests.training.hub_server import HubServer, commit_of, serving
from training.errors import BackboneUnavailable
from training.hub import DOWNLOAD_TRIES, Origin, fetch, load_pretrained, load_tokenizer_json

ROOT = Path(__file__).parent.parent.parent
NAME = "monologg/koelectra"
NEEDED = ["config.json", "vocab.txt", "tokenizer_config.json", "pytorch_model.bin"]
VOCABULARY = [
    *(
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "영화",
        "##가",
        "좋다",
        "가",
        "나다",
        "café",
        "cafe",
        "!",
        "漢",
        "字",
    ),
    *("ab", "##c", "A", "##s"),
]
SENTENCES = [
    "영화가 좋다!",
    "café cafe 漢字 abc 😀 모르는말",
    "영화 [MASK] 가[SEP]A",
    "가" * 150,
    "As\tas\u200b\n 나다!!",
    "",
]
WAYS_OUT = ("HF_ENDPOINT", "HF_HOME", "backbone.name in params.yaml", "PROFILE=compact")
SHAPE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
DRIVER = """
import json, sys, time, warnings
warnings.simplefilter("error")
from training.errors import BackboneUnavailable
from training.hub import fetch
time.sleep = lambda seconds: None
for name, revision in json.loads(sys.argv[1]):
    try:
        folder, origin = fetch(name, revision)
        answer = {"folder": str(folder), **origin.as_dict(), "torch": "torch" in sys.modules}
    except BackboneUnavailable as error:
        answer = {"refused": str(error)}
    print(json.dumps(answer))
"""

Files = dict[str, bytes]


def run(url: str, home: Path, *wanted: tuple[str, str], **environment: str) -> list[dict[str, Any]]:
    """What ``fetch`` gives in a process of its own, which reads its environment as a real one does."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*"}
    command = [sys.executable, "-c", DRIVER, json.dumps(wanted)]
    done = subprocess.run(
        command, cwd=ROOT, env=inherited | settings | environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def discriminator() -> PreTrainedModel:
    torch.manual_seed(0)
    return ElectraForPreTraining(
        ElectraConfig(vocab_size=len(VOCABULARY), embedding_size=16, max_position_embeddings=64, **SHAPE)
    )


def pickled(content: object, *, zipped: bool = False) -> bytes:
    buffer = BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@cache
def koelectra() -> Files:
    """Files as the hub's KoELECTRA repositories have them; their weights are older than torch's zip format."""
    model = discriminator()
    return {
        "config.json": json.dumps({**model.config.to_dict(), "architectures": ["ElectraForPreTraining"]}).encode(),
        "vocab.txt": "".join(f"{piece}\n" for piece in VOCABULARY).encode(),
        "tokenizer_config.json": b'{"do_lower_case": false, "model_max_length": 512}',
        "pytorch_model.bin": pickled({**model.state_dict(), "electra.embeddings.position_ids": torch.arange(64)[None]}),
    }


def without(files: Files, *names: str) -> Files:
    return {name: content for name, content in files.items() if name not in names}


def written(folder: Path, files: Files) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def encoder(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    prefix = f"{model.base_model_prefix}."
    return {name: tensor for name, tensor in model.state_dict().items() if name.startswith(prefix)}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def repositories() -> dict[str, dict[str, Files]]:
    """KoELECTRA at two revisions, with files beside it that nobody needs, one with all files, and one that is large."""
    newer = {"tokenizer.json": b"{}", "model.safetensors": b"safe", "special_tokens_map.json": b"{}"}
    revisions = {
        "main": koelectra() | {"README.md": b"KoELECTRA", "tf_model.h5": bytes(5000)},
        "v1": koelectra() | {"config.json": b'{"model_type": "electra", "of": "v1"}'},
    }
    large = koelectra() | {"pytorch_model.bin": random.Random(0).randbytes(12 << 20)}
    return {NAME: revisions, "own/newer": {"main": koelectra() | newer}, "own/large": {"main": large}}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with serving(repositories()) as server:
        yield server


class Visit(NamedTuple):
    """One process that fetched several backbones, and the hub that it asked."""

    hub: HubServer
    main: dict[str, Any]
    tag: dict[str, Any]
    pinned: dict[str, Any]
    newer: dict[str, Any]


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    with serving(repositories()) as server:
        commit = commit_of(NAME, server.files(NAME, "v1"))
        wanted = [(NAME, "main"), (NAME, "v1"), (NAME, commit), ("own/newer", "main")]
        return Visit(server, *run(server.url, tmp_path_factory.mktemp("home"), *wanted))


def test_a_backbone_of_the_hub_is_had_by_name_and_recorded(visit: Visit) -> None:
    found, files = visit.main, visit.hub.files(NAME, "main")
    assert (found["name"], found["revision"], found["commit"]) == (NAME, "main", commit_of(NAME, files))
    folder = Path(found["folder"])
    assert found["files"] == {name: sha256(folder / name) for name in NEEDED}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: files[name] for name in NEEDED}
    assert not visit.hub.gets("README.md")
    assert not visit.hub.gets("tf_model.h5")
    assert len(visit.hub.gets("pytorch_model.bin")) == 1, "three revisions share it"
    assert not found["torch"], "a fetch does without torch"
    assert equal(encoder(load_pretrained(folder, 2, 0.1, 0.1)), encoder(discriminator()))
    assert Encoder(load_tokenizer_json(folder), 64).encode(["영화가 좋다!"]) == [[2, 5, 6, 7, 12, 3]]


def test_another_revision_is_another_commit_and_a_commit_is_a_revision(visit: Visit) -> None:
    main, tag, pinned = visit.main, visit.tag, visit.pinned
    assert tag["commit"] == pinned["commit"] == pinned["revision"] != main["commit"]
    assert tag["files"] == pinned["files"]
    assert [name for name in NEEDED if tag["files"][name] != main["files"][name]] == ["config.json"]


def test_safetensors_and_a_whole_tokenizer_come_first(visit: Visit) -> None:
    names = ["config.json", "tokenizer.json", "model.safetensors"]
    assert list(visit.newer["files"]) == names
    assert {path.name for path in Path(visit.newer["folder"]).iterdir()} == set(names)


def test_a_download_that_is_cut_goes_on_where_it_was(hub: HubServer, tmp_path: Path) -> None:
    file, size = "pytorch_model.bin", 12 << 20
    hub.cut(file, after_bytes=11 << 20, times=1)
    [found] = run(hub.url, tmp_path, ("own/large", "main"))
    assert (Path(found["folder"]) / file).read_bytes() == hub.files("own/large", "main")[file]
    first, second = hub.gets(file)
    assert (first.range, first.status) == (None, 200)
    assert second.range is not None
    assert second.status == 206
    assert first.sent_bytes + second.sent_bytes <= 1.1 * size


def test_a_download_that_is_reset_is_begun_anew(hub: HubServer, tmp_path: Path) -> None:
    hub.cut("pytorch_model.bin", after_bytes=500, times=DOWNLOAD_TRIES - 1, reset=True)
    [found] = run(hub.url, tmp_path, (NAME, "main"))
    assert len(hub.gets("pytorch_model.bin")) == DOWNLOAD_TRIES
    assert found["files"]["pytorch_model.bin"] == sha256(Path(found["folder"]) / "pytorch_model.bin")


def test_a_download_that_always_breaks_off_is_given_up(hub: HubServer, tmp_path: Path) -> None:
    hub.cut("pytorch_model.bin", after_bytes=500, times=1000)
    [found] = run(hub.url, tmp_path, (NAME, "main"))
    assert "the download of pytorch_model.bin broke off again and again" in found["refused"]
    assert 1 < len(hub.gets("pytorch_model.bin")) <= 10
    assert not list(tmp_path.rglob("pytorch_model.bin"))


REFUSED = {
    ("own/nothing", "main"): "has no such repository",
    (NAME, "v9"): "the repository has no such revision",
    ("own/gpt2", "main"): "a 'gpt2' model; it must be one of electra, bert",
    ("own/wordless", "main"): "file tokenizer.json, or vocab.txt with tokenizer_config.json, is missing",
    ("own/weightless", "main"): "file model.safetensors or pytorch_model.bin is missing from the repository",
    ("own/split", "main"): "weights split over several files are not supported",
    ("own/empty", "main"): "file config.json is missing from the repository",
    ("/no/such/folder", "main"): "it is neither a folder that is there nor the form of a name on the hub",
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[tuple[str, str], str], HubServer]:
    weightless = without(koelectra(), "pytorch_model.bin")
    repositories = {
        NAME: koelectra(),
        "own/gpt2": koelectra() | {"config.json": b'{"model_type": "gpt2"}'},
        "own/wordless": without(koelectra(), "vocab.txt"),
        "own/weightless": weightless,
        "own/split": weightless | {"model.safetensors.index.json": b"{}"},
        "own/empty": {"README.md": b""},
    }
    with serving({name: {"main": files} for name, files in repositories.items()}) as server:
        answers = run(server.url, tmp_path_factory.mktemp("home"), *REFUSED)
    return {wanted: answer["refused"] for wanted, answer in zip(REFUSED, answers, strict=True)}, server


@pytest.mark.parametrize("wanted", REFUSED)
def test_a_refusal_names_backbone_reason_and_ways_out(
    wanted: tuple[str, str], refusals: tuple[dict[tuple[str, str], str], HubServer]
) -> None:
    message = refusals[0][wanted]
    assert message.startswith(f"backbone.name is {wanted[0]!r} (revision {wanted[1]!r}), which cannot be loaded: ")
    assert REFUSED[wanted] in message
    assert all(way in message for way in WAYS_OUT)
    assert len(message.splitlines()) == 2


def test_weights_are_not_downloaded_in_vain(refusals: tuple[dict[tuple[str, str], str], HubServer]) -> None:
    assert not refusals[1].gets("pytorch_model.bin")


def test_a_warm_cache_needs_no_hub(hub: HubServer, tmp_path: Path) -> None:
    [online] = run(hub.url, tmp_path, (NAME, "main"))
    hub.down = True
    assert run(hub.url, tmp_path, (NAME, "main")) == [online], "503"
    hub.stop()
    commit = online["commit"]
    assert run(hub.url, tmp_path, (NAME, "main"), (NAME, commit), HF_HUB_OFFLINE="1") == [
        online,
        {**online, "revision": commit},
    ]
    assert run(hub.url, tmp_path, (NAME, "main")) == [online], "refused"


def test_a_hub_out_of_reach_and_a_cold_cache(hub: HubServer, tmp_path: Path) -> None:
    hub.cut("pytorch_model.bin", after_bytes=0, times=1000, reset=True)
    [broken] = run(hub.url, tmp_path, (NAME, "main"))
    assert "the download of pytorch_model.bin broke off again and again" in broken["refused"]
    assert len(hub.gets("pytorch_model.bin")) == DOWNLOAD_TRIES
    served = len(hub.served)
    half, cold = run(hub.url, tmp_path, (NAME, "main"), ("own/large", "main"), HF_HUB_OFFLINE="1")
    place = f"the cache ({tmp_path / 'hub'}), and HF_HUB_OFFLINE is set"
    assert f"file model.safetensors or pytorch_model.bin is missing from {place}\n" in half["refused"]
    assert f"it is not in {place}\n" in cold["refused"]
    assert len(hub.served) == served, "offline is offline"
    hub.stop()
    [gone] = run(hub.url, tmp_path, ("own/large", "main"))
    assert re.search(f"it is not in .*{hub.url} cannot be reached: .*refused\n", gone["refused"])


def test_a_folder_is_a_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path / "mine", koelectra() | {"README.md": b"mine"})
    expected = {name: sha256(folder / name) for name in NEEDED}
    assert fetch(str(folder), "main") == (folder, Origin(str(folder), "main", None, expected))
    monkeypatch.chdir(tmp_path)
    assert fetch("mine", "main")[1].as_dict() == {"name": "mine", "revision": "main", "commit": None, "files": expected}


@pytest.mark.parametrize("file", ["config.json", "vocab.txt", "tokenizer_config.json", "pytorch_model.bin"])
def test_a_folder_has_to_be_whole(tmp_path: Path, file: str) -> None:
    folder = written(tmp_path / "mine", without(koelectra(), file))
    with pytest.raises(BackboneUnavailable, match=f"{file}.* is missing from the folder\nWays out: "):
        fetch(str(folder), "main")


def test_a_file_of_the_cache_is_what_its_name_says(tmp_path: Path) -> None:
    folder = written(tmp_path / "snapshot", without(koelectra(), "pytorch_model.bin"))
    (tmp_path / "blobs").mkdir()
    blob = tmp_path / "blobs" / ("0" * 64)
    blob.write_bytes(koelectra()["pytorch_model.bin"])
    (folder / "pytorch_model.bin").symlink_to(Path("..") / "blobs" / blob.name)
    with pytest.raises(BackboneUnavailable, match=r"pytorch_model.bin is damaged: its SHA-256 is .*, the hub's 0{64}"):
        fetch(str(folder), "main")
    (folder / "pytorch_model.bin").unlink()
    blob = blob.rename(tmp_path / "blobs" / sha256(blob))
    (folder / "pytorch_model.bin").symlink_to(Path("..") / "blobs" / blob.name)
    assert fetch(str(folder), "main")[1].files["pytorch_model.bin"] == blob.name


@pytest.mark.parametrize("form", ["legacy", "zip", "safetensors", "headless"])
def test_the_encoder_is_the_repositorys_and_the_head_is_new(
    tmp_path: Path, form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = discriminator().state_dict()
    files = without(koelectra(), "pytorch_model.bin")
    if form == "safetensors":
        files["model.safetensors"] = save(weights)
    elif form == "headless":
        bare = {name.removeprefix("electra."): t for name, t in weights.items() if name.startswith("electra.")}
        files["pytorch_model.bin"] = pickled(bare)
    else:
        files["pytorch_model.bin"] = pickled(weights, zipped=form == "zip")
    folder = written(tmp_path / "mine", files)
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(load_pretrained(folder, 2, 0.1, 0.1))
    assert all(equal(encoder(model), encoder(discriminator())) for model in models)
    heads = [model.state_dict()["classifier.dense.weight"] for model in models]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert models[0].state_dict()["classifier.out_proj.weight"].shape == (2, 32)
    assert capfd.readouterr().err == ""


def test_a_head_that_was_trained_elsewhere_is_not_kept(tmp_path: Path) -> None:
    folder = written(tmp_path / "mine", koelectra())
    trained = load_pretrained(folder, 3, 0.1, 0.1)
    trained.half().save_pretrained(tmp_path / "trained")
    model = load_pretrained(
        written(tmp_path / "trained", without(koelectra(), "config.json", "pytorch_model.bin")), 2, 0.1, 0.1
    )
    assert model.config.num_labels == 2
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    halved = {name: tensor.half().float() for name, tensor in encoder(discriminator()).items()}
    assert equal(encoder(model), halved)


@pytest.mark.parametrize("pooled", [True, False])
def test_berts_pooler_is_kept_where_there_is_one(tmp_path: Path, pooled: bool) -> None:
    torch.manual_seed(0)
    given = BertForPreTraining(BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=64, **SHAPE))
    weights = {name: t for name, t in given.state_dict().items() if pooled or "pooler" not in name}
    changed = {"config.json": json.dumps(given.config.to_dict()).encode(), "pytorch_model.bin": pickled(weights)}
    model = load_pretrained(written(tmp_path / "mine", koelectra() | changed), 2, 0.1, 0.1)
    kept = {name: t for name, t in encoder(model).items() if name in weights}
    assert equal(kept, {name: t for name, t in weights.items() if name.startswith("bert.")})
    pooler = "bert.pooler.dense.weight"
    assert torch.equal(model.state_dict()[pooler], given.state_dict()[pooler]) is pooled


def test_dropout_is_set_and_nothing_else_of_the_configuration_comes_along(tmp_path: Path) -> None:
    settings = json.loads(koelectra()["config.json"])
    settings |= {
        "attention_probs_dropout_prob": 0.25,
        "classifier_dropout": 0.9,
        "is_decoder": True,
        "dtype": "float16",
    }
    settings |= {"auto_map": {"AutoModel": "evil.Model"}, "id2label": {"0": "a", "1": "b", "2": "c"}}
    folder = written(tmp_path / "mine", koelectra() | {"config.json": json.dumps(settings).encode()})
    config = load_pretrained(folder, 2, 0.3, 0.15).config
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.3, 0.15)
    assert load_pretrained(folder, 2, 0.3, None).config.attention_probs_dropout_prob == 0.25
    assert (config.classifier_dropout, config.is_decoder, config.num_labels) == (None, False, 2)
    assert not hasattr(config, "auto_map")


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    name = "electra.encoder.layer.0.intermediate.dense"
    weights = discriminator().state_dict()
    del weights[f"{name}.weight"]
    weights |= {f"{name}.bias": torch.zeros(5), "electra.encoder.layer.1.extra": torch.zeros(1)}
    folder = written(tmp_path / "mine", koelectra() | {"pytorch_model.bin": pickled(weights)})
    with pytest.raises(BackboneUnavailable) as caught:
        load_pretrained(folder, 2, 0.1, 0.1)
    assert f"{name}.weight is missing and should be [64, 32]" in str(caught.value)
    assert f"{name}.bias is [5] and should be [64]" in str(caught.value)
    assert "electra.encoder.layer.1.extra is [1] and should be absent" in str(caught.value)


class Payload:
    """What unpickles by making a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["legacy", "zip", "plain"])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, form: str) -> None:
    trace = tmp_path / "trace"
    content = {**discriminator().state_dict(), "electra.x": Payload(trace)}
    malicious = pickle.dumps(content) if form == "plain" else pickled(content, zipped=form == "zip")
    folder = written(tmp_path / "mine", koelectra() | {"pytorch_model.bin": malicious})
    with pytest.raises(BackboneUnavailable, match="nothing else in it was run"):
        load_pretrained(folder, 2, 0.1, 0.1)
    assert not trace.exists()
    with suppress(Exception):
        torch.load(BytesIO(malicious), weights_only=False)
    assert trace.exists(), "the payload works where pickles are trusted"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pytorch_model.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        ("pytorch_model.bin", b""),
        ("pytorch_model.bin", koelectra()["pytorch_model.bin"][:-100]),
        ("pytorch_model.bin", pickled({"state_dict": {}})),
        ("pytorch_model.bin", pickled([torch.zeros(1)])),
        ("model.safetensors", save({"electra.x": torch.zeros(9)})[:-1]),
        ("config.json", b"{"),
        ("config.json", b"[]"),
        ("config.json", b"{}"),
        ("config.json", b'{"model_type": "electra", "vocab_size": "x"}'),
        ("config.json", b'{"model_type": "electra", "hidden_act": "x"}'),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    folder = written(tmp_path / "mine", koelectra() | {name: content})
    with pytest.raises(BackboneUnavailable, match=name):
        load_pretrained(folder, 2, 0.1, 0.1)


@pytest.mark.parametrize("lower", [False, True])
def test_a_made_tokenizer_gives_the_ids_of_transformers(tmp_path: Path, lower: bool) -> None:
    settings = json.dumps({"do_lower_case": lower, "tokenizer_class": "ElectraTokenizer"}).encode()
    special = b'{"cls_token": "[CLS]", "pad_token": {"content": "[PAD]"}}'
    changed = {"tokenizer_config.json": settings, "special_tokens_map.json": special}
    folder = written(tmp_path / "mine", koelectra() | changed)
    found = Encoder(load_tokenizer_json(folder), 512).encode(SENTENCES)
    assert found == AutoTokenizer.from_pretrained(folder)(SENTENCES)["input_ids"]
    other = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=lower)
    assert found == [encoding.ids for encoding in other.encode_batch(SENTENCES)]
    assert found[0] == ([2, 1, 1, 12, 3] if lower else [2, 5, 6, 7, 12, 3]), "lower-casing takes Hangul apart"
    assert found[1][1:3] == [11 if lower else 10, 11]


def test_a_whole_tokenizer_is_taken_as_it_is(tmp_path: Path) -> None:
    content = load_tokenizer_json(written(tmp_path / "mine", koelectra()))
    reordered = json.dumps(json.loads(content), sort_keys=True)
    folder = written(tmp_path / "other", without(koelectra(), "vocab.txt") | {"tokenizer.json": reordered.encode()})
    assert load_tokenizer_json(folder) == reordered


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tokenizer_config.json": b'{"tokenizer_class": "BertTokenizer"}'}, "do_lower_case is None"),
        (
            {"tokenizer_config.json": b'{"do_lower_case": false, "tokenizer_class": "KoBertTokenizer"}'},
            "KoBertTokenizer",
        ),
        ({"vocab.txt": "\n".join(VOCABULARY[1:]).encode()}, r"lacks \[PAD\]"),
        ({"vocab.txt": "\n".join([*VOCABULARY, "더"]).encode()}, "of 19 entries, lacks 더"),
        ({"vocab.txt": b"\xff"}, "no usable tokenizer"),
        ({"tokenizer.json": b"{}"}, "no usable tokenizer"),
    ],
)
def test_a_tokenizer_that_cannot_be_trusted_is_refused(tmp_path: Path, files: Files, message: str) -> None:
    folder = written(tmp_path / "mine", koelectra() | files)
    with pytest.raises(BackboneUnavailable, match=message):
        load_tokenizer_json(folder)


def test_a_missing_tokenizer_names_the_files_looked_for(tmp_path: Path) -> None:
    folder = written(tmp_path / "mine", without(koelectra(), "vocab.txt"))
    with pytest.raises(BackboneUnavailable, match=r"tokenizer\.json, or vocab.txt with tokenizer_config.json,"):
        load_tokenizer_json(folder)
