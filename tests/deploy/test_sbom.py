"""The bill of materials names what lies in an image, and fits CycloneDX's schema."""

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from data.bundle import Bundle
from deploy import sbom
from deploy.engine import ContainerEngine, EngineMissing

IMAGE = "localhost/nsmc-sentiment:v1-0a1b2c3d"
IDENTITY = "sha256:" + "ab" * 32
SITE = "app/.venv/lib/python3.11/site-packages"
STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Description: GNU C Library: Shared libraries
 Many words: of more than one line.

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1:1.0-1

Package: tzdata
Status: install ok installed
Architecture: all
Version: 2026a-0+deb12u1
"""
EVERYWHERE = "usr/local/lib/python3.11/site-packages"
PACKAGES = {
    f"{SITE}/onnxruntime-1.32.0": "License: MIT License",
    f"{SITE}/typing_extensions-4.16.0": "License-Expression: PSF-2.0",
    f"{SITE}/cryptography-50.0.2": "License-Expression: Apache-2.0 OR BSD-3-Clause",
    f"{SITE}/text-1.0": "License: All\n  of it\nClassifier: License :: OSI Approved :: ISC License",
    f"{SITE}/none-1.0": "License: UNKNOWN\nClassifier: Typing :: Typed",
    f"{EVERYWHERE}/pip-26.3": "License-Expression: MIT",
    f"{EVERYWHERE}/cryptography-50.0.2": "Summary: once more",
}
LOCK = "".join(
    f"{pin} \\\n    --hash=sha256:00\n"
    for pin in ("onnxruntime==1.32.0", "typing-extensions==4.16.0", "cryptography==50.0.2", "text==1.0")
)


def metadata(folder: str, text: str) -> str:
    name, _, version = folder.rpartition("/")[2].rpartition("-")
    return f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{text}\n"


@pytest.fixture
def image(tmp_path: Path, bundle: Bundle) -> Path:
    root = tmp_path / "root"
    files = {
        "var/lib/dpkg/status": STATUS,
        "usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\n',
        "app/.venv/pyvenv.cfg": "home = /usr/bin\nversion_info = 3.11.2\n",
        **{f"{folder}.dist-info/METADATA": metadata(folder, text) for folder, text in PACKAGES.items()},
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    shutil.copytree(bundle.folder, root / "home/bentoml/bento/models/koelectra-nsmc/v1-0a1b2c3d")
    return root


def described(root: Path) -> dict[str, Any]:
    text = JsonV1Dot6(sbom.describe(root, IMAGE, IDENTITY)).output_as_string()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    return dict(json.loads(text))


def test_it_fits_the_schema_and_names_everything_once(image: Path) -> None:
    document = described(image)
    assert sorted(each["bom-ref"] for each in document["components"]) == [
        "debian-12",
        "koelectra-nsmc:v1-0a1b2c3d",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12",
        "pkg:deb/debian/tzdata@2026a-0%2Bdeb12u1?arch=all&distro=debian-12",
        "pkg:generic/python@3.11.2",
        "pkg:pypi/cryptography@50.0.2",
        "pkg:pypi/none@1.0",
        "pkg:pypi/onnxruntime@1.32.0",
        "pkg:pypi/pip@26.3",
        "pkg:pypi/text@1.0",
        "pkg:pypi/typing-extensions@4.16.0",
    ]
    assert document["metadata"]["component"] == {
        "bom-ref": IMAGE, "name": "localhost/nsmc-sentiment", "type": "container", "version": "v1-0a1b2c3d",
        "hashes": [{"alg": "SHA-256", "content": "ab" * 32}],
    }  # fmt: skip


def test_licences_are_expressions_where_there_are_some(image: Path) -> None:
    found = {each["name"]: each.get("licenses") for each in described(image)["components"]}
    assert found["typing-extensions"] == [{"license": {"id": "PSF-2.0"}}]
    assert found["cryptography"] == [{"expression": "Apache-2.0 OR BSD-3-Clause"}]
    assert found["text"] == [{"license": {"name": "ISC License"}}]
    assert found["none"] is None


def test_the_model_comes_with_its_digests(image: Path, bundle: Bundle) -> None:
    (model,) = [each for each in described(image)["components"] if each["type"] == "machine-learning-model"]
    assert model["properties"] == [{"name": "nsmc-sentiment:bundle-digest", "value": bundle.manifest.digest}]
    assert {each["name"]: each["hashes"][0]["content"] for each in model["components"]} == bundle.manifest.files


def test_what_the_lock_does_not_name_is_found(image: Path) -> None:
    assert sbom.unlocked(sbom.describe(image, IMAGE, IDENTITY), LOCK) == ["none==1.0"]


def test_an_image_is_read_without_running_it(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def command(self: ContainerEngine, *arguments: str, check: bool = True) -> str:
        asked.append(arguments[0])
        if arguments[0] == "export":
            with tarfile.open(arguments[2], "w") as archive:
                archive.add(image, arcname=".")
                for name in ("../outside.dist-info/METADATA", "bin/sh"):
                    archive.addfile(tarfile.TarInfo(name), io.BytesIO())
        return {"images": "0123", "image": IDENTITY}.get(arguments[0], "")

    monkeypatch.setattr(ContainerEngine, "command", command)
    bom = sbom.bill(ContainerEngine("podman", "buildah"), IMAGE)
    assert asked == ["images", "image", "create", "export", "rm"]
    assert {each.bom_ref.value for each in bom.components} == {
        each.bom_ref.value for each in sbom.describe(image, IMAGE, IDENTITY).components
    }
    assert sbom.summary(bom) == "2 Debian packages, 6 Python packages, 1 models"


def test_an_image_that_is_not_there_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ContainerEngine, "found", lambda: ContainerEngine("podman", "buildah"))
    monkeypatch.setattr(ContainerEngine, "command", lambda *_, **__: "")
    monkeypatch.setattr("sys.argv", ["sbom", "--image", IMAGE, "--out", str(tmp_path / "sbom.json")])
    assert sbom.main() == 1
    assert capsys.readouterr().err == (
        f"error: there is no image {IMAGE} here; run `make image`, or name one: `make sbom IMAGE=...`\n"
    )
    monkeypatch.setattr("sys.argv", ["sbom", "--workspace", str(tmp_path)])
    assert sbom.main() == 1
    assert capsys.readouterr().err.startswith("error: nothing was packaged in ")
    with pytest.raises(EngineMissing):
        sbom.bill(ContainerEngine("podman", "buildah"), IMAGE)
