import json
import shutil
from pathlib import Path

import pytest

from data.bundle import GRAPH_FILE, MANIFEST_FILE, Bundle, Manifest
from data.encode import TOKENIZER_FILE
from data.errors import BundleError, BundleInvalid, DigestMismatch, GoldenMismatch


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.folder, tmp_path / "copy"))


def edit(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes, ensure_ascii=False))


def test_what_is_written_is_opened(bundle: Bundle) -> None:
    assert Bundle.open(bundle.folder).manifest == bundle.manifest


def test_a_flipped_byte_is_refused_by_name(copy: Path) -> None:
    data = bytearray((copy / GRAPH_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / GRAPH_FILE).write_bytes(data)
    with pytest.raises(DigestMismatch, match=GRAPH_FILE):
        Bundle.open(copy)


@pytest.mark.parametrize("name", [GRAPH_FILE, TOKENIZER_FILE, MANIFEST_FILE])
def test_a_missing_file_is_refused_by_name(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleInvalid, match=name.replace(".", r"\.")):
        Bundle.open(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format_version is 2; it must be 3"),
        ({"cleaning_version": "0"}, "cleaning_version is '0'"),
        ({"labels": ["긍정", "부정"]}, "labels are"),
        ({"fingerprint": "f" * 64}, "fingerprint is"),
        ({"files": {}}, "files does not name"),
        ({"surprise": 1}, "surprise"),
        ({"neutral_band": {"low": 0.9, "high": 0.1}}, "neutral_band"),
        ({"golden": [{"text": "굿"}]}, "not a manifest"),
        ({"golden": []}, "golden must hold samples"),
        ({"golden": [{"text": "굿", "ids": [2, 3], "positive": {"fp32": 0.5}}]}, "for each of the graphs"),
        ({"graphs": {}}, "it must have fp32"),
        ({"graphs": {"fp32": GRAPH_FILE, "int4": GRAPH_FILE}}, r"graphs has \['fp32', 'int4'\]; it must have fp32"),
        ({"graphs": {"fp32": GRAPH_FILE, "int8": "absent.onnx"}}, r"files does not name absent\.onnx"),
        ({"token_lengths": []}, "token_lengths must be from 3 to 512"),
        ({"token_lengths": [2, 513]}, "token_lengths must be from 3 to 512"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(copy: Path, changes: dict[str, object], message: str) -> None:
    edit(copy, **changes)
    with pytest.raises(BundleInvalid, match=message):
        Bundle.open(copy)


def test_a_path_out_of_the_folder_is_refused(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST_FILE).read_text())
    edit(copy, files={**manifest["files"], "../outside": "0" * 64})
    with pytest.raises(BundleInvalid, match="not a plain file name"):
        Bundle.open(copy)


@pytest.mark.parametrize("content", ["", "[]", "{", "null", '{"format_version": 1}'])
def test_a_manifest_that_is_no_manifest(copy: Path, content: str) -> None:
    (copy / MANIFEST_FILE).write_text(content)
    with pytest.raises(BundleError):
        Bundle.open(copy)


def test_golden_samples_are_held_against_ids_and_probabilities(bundle: Bundle, copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST_FILE).read_text())
    manifest["golden"][0]["ids"][1] += 1
    edit(copy, golden=manifest["golden"])
    with pytest.raises(GoldenMismatch, match="golden sample 0: token ids"):
        Bundle.open(copy)
    answers = [golden.positive["fp32"] for golden in bundle.manifest.golden]
    bundle.check_golden(answers, "fp32")
    for wrong in (answers[0] + 0.01, float("nan")):
        with pytest.raises(GoldenMismatch, match=r"golden sample 0: P\(positive\)"):
            bundle.check_golden([wrong, *answers[1:]], "fp32")


def test_the_digest_is_of_what_decides_the_answers(bundle: Bundle, copy: Path) -> None:
    edit(copy, lineage={"mlflow_run_id": "another"}, metrics={"test_accuracy": 0.9})
    assert Bundle.open(copy).manifest.digest == bundle.manifest.digest
    edit(copy, calibration={"temperature": 2.0, "bias": 0.0})
    assert Bundle.open(copy).manifest.digest != bundle.manifest.digest


def test_the_manifest_survives_json(bundle: Bundle) -> None:
    assert Manifest.from_json((bundle.folder / MANIFEST_FILE).read_text()) == bundle.manifest
