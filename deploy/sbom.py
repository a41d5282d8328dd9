"""The bill of materials of an image: ``python -m deploy.sbom [--image IMAGE] [--workspace FOLDER] [--out FILE]``.

CycloneDX in JSON, read from the image's files without running it: Debian's packages from dpkg's list, Python and its
packages from their metadata, the models from their manifests. The image is that of the Bento that was packaged last.
"""

import argparse
import re
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from email import message_from_string
from fnmatch import fnmatch
from importlib.metadata import Distribution
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.component_evidence import ComponentEvidence, Occurrence
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from data.bundle import MANIFEST_FILE, Manifest
from data.errors import BundleInvalid
from deploy.engine import ContainerEngine, EngineMissing
from pipelines.artifacts import ROOT
from pipelines.errors import PackagingError
from pipelines.serve import bento_tag

FILE = ROOT / "sbom.cdx.json"
DPKG, RELEASE = "var/lib/dpkg/status", "usr/lib/os-release"
METADATA, SETTINGS = "METADATA", "pyvenv.cfg"
ENVIRONMENT = "app/.venv/"
"""Where BentoML installs what the service needs."""
READ = (DPKG, RELEASE, f"*.dist-info/{METADATA}", f"*/{SETTINGS}", f"*/models/*/{MANIFEST_FILE}")
"""What is read of an image, as patterns of paths."""
LONGEST_LICENSE = 100
"""Characters; in older metadata some put the whole text where the name belongs."""


def contents(engine: ContainerEngine, image: str, folder: Path) -> None:
    """Put what is read of ``image`` into ``folder``, as it lies in there. Raises EngineMissing."""
    name, archive = f"nsmc-sbom-{time.time_ns()}", folder / "image.tar"
    engine.command("create", "--name", name, image)
    try:
        engine.command("export", "--output", str(archive), name)
    finally:
        engine.command("rm", "--force", name, check=False)
    with tarfile.open(archive) as packed:
        for member in packed:
            path = member.name.removeprefix("./")
            content = packed.extractfile(member) if any(fnmatch(path, each) for each in READ) else None
            if content is not None and ".." not in path.split("/"):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content.read())
    archive.unlink()


def python_packages(root: Path) -> Iterator[Component]:
    """All that has metadata, wherever it is installed; what others carry within them, too."""
    for file in sorted(root.glob(f"**/*.dist-info/{METADATA}")):
        package = Distribution.at(file.parent)
        component = _component(PackageURL("pypi", name=package.name, version=package.version))
        component.licenses = _licenses(package)
        component.evidence = ComponentEvidence(occurrences=[Occurrence(location=str(file.parent.relative_to(root)))])
        yield component


def _component(purl: PackageURL, kind: ComponentType = ComponentType.LIBRARY) -> Component:
    return Component(name=purl.name, version=purl.version, type=kind, purl=purl, bom_ref=purl.to_string())


def _licenses(package: Distribution) -> list[License]:
    """An SPDX expression where there is one, else the names that are given."""
    metadata, make = package.metadata, LicenseFactory()
    named = [metadata[key] for key in ("License-Expression", "License") if metadata[key]]
    short = [text for text in named if "\n" not in text and len(text) <= LONGEST_LICENSE and text != "UNKNOWN"]
    if short:
        return [make.make_from_string(short[0])]
    classifiers = [each.split(" :: ") for each in metadata.get_all("Classifier") or []]
    return [make.make_with_name(each[-1]) for each in classifiers if each[0] == "License" and len(each) > 2]


def debian_packages(root: Path) -> Iterator[Component]:
    """The distribution itself, and what dpkg says is installed."""
    if not (root / DPKG).exists():
        return
    release = _pairs((root / RELEASE).read_text(encoding="utf-8"))
    system, version = release["ID"], release.get("VERSION_ID")
    kind = ComponentType.OPERATING_SYSTEM
    yield Component(name=system, version=version, type=kind, bom_ref=f"{system}-{version}")
    for paragraph in (root / DPKG).read_text(encoding="utf-8").strip().split("\n\n"):
        package = message_from_string(paragraph)
        if package["Status"].endswith(" installed"):
            which = {"arch": package["Architecture"], "distro": f"{system}-{version}"}
            yield _component(PackageURL("deb", system, package["Package"], package["Version"], which))


def interpreters(root: Path) -> Iterator[Component]:
    """Python itself, which no list of packages names where it was not Debian that brought it."""
    for file in sorted(root.glob(f"**/{SETTINGS}")):
        version = _pairs(file.read_text(encoding="utf-8"))["version_info"]
        yield _component(PackageURL("generic", name="python", version=version), ComponentType.PLATFORM)


def _pairs(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip(' "') for key, _, value in pairs}


def models(root: Path) -> Iterator[Component]:
    """The bundles, each with its digest and its files. Raises BundleInvalid."""
    for file in sorted(root.glob(f"**/models/*/*/{MANIFEST_FILE}")):
        manifest = Manifest.read(file.parent)
        name, version = file.parts[-3:-1]
        yield Component(
            name=name,
            version=version,
            type=ComponentType.MACHINE_LEARNING_MODEL,
            bom_ref=f"{name}:{version}",
            description=f"{manifest.model_name}, {manifest.language}",
            properties=[Property(name="nsmc-sentiment:bundle-digest", value=manifest.digest)],
            components=[
                Component(
                    name=each,
                    type=ComponentType.FILE,
                    bom_ref=f"{name}:{version}/{each}",
                    hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
                )
                for each, digest in manifest.files.items()
            ],
        )


def describe(root: Path, image: str, identity: str) -> Bom:
    """What is in ``root``, the files of ``image``, whose SHA-256 is ``identity``. Raises BundleInvalid."""
    version = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else "latest"
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=identity.removeprefix("sha256:"))]
    container = Component(
        name=image.removesuffix(f":{version}"),
        version=version,
        type=ComponentType.CONTAINER,
        bom_ref=image,
        hashes=hashes,
    )
    found: dict[str | None, Component] = {}
    for each in (*debian_packages(root), *interpreters(root), *python_packages(root), *models(root)):
        # one that lies in two places is named once, with the first
        found.setdefault(each.bom_ref.value, each)
    bom = Bom(components=found.values())
    bom.metadata.component = container
    bom.register_dependency(container, found.values())
    return bom


def bill(engine: ContainerEngine, image: str) -> Bom:
    """What is in ``image``. Raises EngineMissing where it is not there, BundleInvalid."""
    if not engine.has(image):
        raise EngineMissing(f"there is no image {image} here; run `make image`, or name one: `make sbom IMAGE=...`")
    identity = engine.command("image", "inspect", "--format", "{{.Id}}", image)
    with tempfile.TemporaryDirectory(prefix="sbom-") as folder:
        contents(engine, image, Path(folder))
        return describe(Path(folder), image, identity)


def unlocked(bom: Bom, lock: str) -> list[str]:
    """The packages of the service's environment in ``bom`` that ``lock``, a file of requirements, does not name."""
    pinned = {
        (canonicalize_name(name), version) for name, version in re.findall(r"^([^\s=]+)==(\S+)", lock, re.MULTILINE)
    }
    return [
        f"{each.name}=={each.version}"
        for each in bom.components
        if each.evidence and any(where.location.startswith(ENVIRONMENT) for where in each.evidence.occurrences)
        if (canonicalize_name(each.name), each.version) not in pinned
    ]


def summary(bom: Bom) -> str:
    """How many components of which kind."""
    kinds = [each.purl.type if each.purl else each.type.value for each in bom.components]
    counts = {"deb": "Debian packages", "pypi": "Python packages", "machine-learning-model": "models"}
    return ", ".join(f"{kinds.count(kind)} {words}" for kind, words in counts.items())


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="deploy.sbom", description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--image", help="by its name; else that of the Bento that was packaged last")
    parser.add_argument("--out", type=Path, help=f"else {FILE} in the workspace")
    arguments = parser.parse_args()
    try:
        image = arguments.image or "nsmc-sentiment:" + bento_tag(arguments.workspace).partition(":")[2]
        bom = bill(ContainerEngine.found(), image)
    except (EngineMissing, PackagingError, BundleInvalid) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    file = arguments.out or arguments.workspace / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    JsonV1Dot6(bom).output_to_file(str(file), allow_overwrite=True, indent=2)
    print(f"{file}: {image} has {summary(bom)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
