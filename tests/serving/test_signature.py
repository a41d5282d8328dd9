"""What a signature stands for: just these files, signed by the owner of just this key."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data.bundle import SIGNATURE_FILE, Bundle
from pipelines.errors import PackagingError
from pipelines.sign import sign
from serving.errors import ModelUnavailable, SettingInvalid
from serving.settings import Settings
from serving.signature import check_signature
from tests.keys import key_pair


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    private, _ = key_pair(tmp_path / "keys")
    monkeypatch.setenv("SIGNING_KEY", str(private))
    return private


@pytest.fixture
def public(private: Path) -> Path:
    return private.with_suffix(".pub")


@pytest.fixture
def signed(bundle: Bundle, tmp_path: Path, private: Path) -> Path:
    folder = tmp_path / "signed"
    shutil.copytree(bundle.folder, folder)
    assert sign(folder)
    return folder


def test_what_was_signed_passes_wherever_it_lies(signed: Path, public: Path, tmp_path: Path) -> None:
    check_signature(signed, public)
    moved = signed.rename(tmp_path / "elsewhere")
    (moved / "model.yaml").write_text("what BentoML's store notes of a model is the store's own")
    check_signature(moved, public)
    assert Bundle.open(moved)


def test_the_formats_own_command_says_the_same(signed: Path, public: Path) -> None:
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(signed)]
    command += ["--signature", str(signed / SIGNATURE_FILE), "--public_key", str(public)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    (signed / "model.onnx").write_bytes(b"other")
    assert subprocess.run(command, capture_output=True).returncode != 0


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)


def change_the_manifest(folder: Path) -> None:
    manifest = folder / "bundle.json"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("Korean", "Koreaan"), encoding="utf-8")


def change_what_is_signed(folder: Path) -> None:
    signature = json.loads((folder / SIGNATURE_FILE).read_text())
    payload = signature["dsseEnvelope"]["payload"]
    signature["dsseEnvelope"]["payload"] = payload[:-8] + payload[-4:] + payload[-8:-4]
    (folder / SIGNATURE_FILE).write_text(json.dumps(signature))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip_a_byte, r"does not hold: Signature mismatch: .*'model\.onnx'"),
        (change_the_manifest, r"does not hold: Signature mismatch: .*'bundle\.json'"),
        (lambda folder: (folder / "more.bin").write_bytes(b"1"), r"does not hold: .*Extra files.*more\.bin"),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"does not hold: .*Missing files.*tokenizer\.json"),
        (lambda folder: (folder / SIGNATURE_FILE).unlink(), r"is not signed \(model\.sig is missing\)"),
        (lambda folder: (folder / SIGNATURE_FILE).write_text("{}"), r"model\.sig is no signature of this key"),
        (change_what_is_signed, r"model\.sig is no signature of this key"),
    ],
)
def test_anything_else_does_not(signed: Path, public: Path, change: Callable[[Path], object], message: str) -> None:
    change(signed)
    with pytest.raises(ModelUnavailable, match=message):
        check_signature(signed, public)


def test_nor_does_what_somebody_else_signed(signed: Path, tmp_path: Path) -> None:
    _, other = key_pair(tmp_path / "other")
    with pytest.raises(ModelUnavailable, match="does not hold: Key mismatch"):
        check_signature(signed, other)


def test_an_encrypted_key(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private, public = key_pair(tmp_path / "keys", "열려라 참깨")
    shutil.copytree(bundle.folder, folder := tmp_path / "signed")
    monkeypatch.setenv("SIGNING_KEY", str(private))
    with pytest.raises(PackagingError, match="SIGNING_KEY cannot be used: Password was not given"):
        sign(folder)
    monkeypatch.setenv("SIGNING_KEY_PASSWORD", "wrong")
    with pytest.raises(PackagingError, match="SIGNING_KEY cannot be used: ValueError; it must be the PEM"):
        sign(folder)
    assert not (folder / SIGNATURE_FILE).exists()
    monkeypatch.setenv("SIGNING_KEY_PASSWORD", "열려라 참깨")
    assert sign(folder)
    check_signature(folder, public)


def test_without_a_key_nothing_is_signed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGNING_KEY", raising=False)
    assert not sign(bundle.folder)
    assert not (bundle.folder / SIGNATURE_FILE).exists()


def test_a_public_key_that_is_not_there_stops_the_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SIGNING_PUBLIC_KEY", str(tmp_path / "none.pub"))
    with pytest.raises(SettingInvalid, match="SIGNING_PUBLIC_KEY: Path does not point to a file"):
        Settings.from_environment()
