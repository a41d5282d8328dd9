"""Build the container around the Bento that was packaged last.

``python -m deploy.image [--workspace FOLDER] [--gpu] [--name NAME] [--base]``: the image is ``NAME:VERSION``, with the
Bento's version. ``--base`` makes Python's base image here, from Debian's packages, where no registry can be reached.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.engine import ContainerEngine, EngineMissing
from pipelines import artifacts
from pipelines.errors import PackagingError
from pipelines.serve import bento_tag, environment
from serving.image import BASE

PACKAGES = "python3,python3-venv,ca-certificates"
USELESS = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log")
_BUILD_FOR_GPUS = """
import sys
from pipelines.package import build_bento
print(build_bento(sys.argv[1], gpu=True))
"""


def make_base(engine: ContainerEngine) -> None:
    """Make ``BASE`` of Debian's packages, as root; it has what Python's own slim image has, and uv.

    The certificates are this machine's, for it may be behind a proxy of its own.
    """
    with tempfile.TemporaryDirectory(prefix="base-") as folder:
        root = Path(folder) / "root"
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise EngineMissing(f"debootstrap failed: {done.stdout.strip()[-500:]}")
        for name in USELESS:
            subprocess.run(["rm", "-rf", str(root / name)], check=True)
            (root / name).mkdir(parents=True)
        fetch = [sys.executable, "-m", "pip", "install", "--quiet", "--target", f"{folder}/uv", "uv"]
        subprocess.run(fetch, check=True, capture_output=True)
        shutil.copy(Path(folder) / "uv/bin/uv", root / "usr/local/bin/uv")
        certificates = Path("etc/ssl/certs/ca-certificates.crt")
        (root / certificates).write_bytes((Path("/") / certificates).read_bytes())
        archive = Path(folder) / "root.tar"
        subprocess.run(["tar", "-C", str(root), "-cf", str(archive), "."], check=True)
        engine.command("import", "--change", f"ENV SSL_CERT_FILE=/{certificates}", str(archive), BASE)


def build(engine: ContainerEngine, workspace: Path, name: str, *, gpu: bool = False) -> str:
    """Build the image; its name. Raises PackagingError where nothing was packaged or BentoML fails."""
    bento = bento_tag(workspace)
    variables = {**environment(workspace), **engine.variables}
    if gpu:
        model = artifacts.read_json(workspace / artifacts.PACKAGE)["model_tag"]
        line = [sys.executable, "-c", _BUILD_FOR_GPUS, model]
        done = subprocess.run(line, cwd=workspace, env=variables, capture_output=True, text=True)
        if done.returncode:
            raise PackagingError(f"the Bento for GPUs cannot be built: {done.stderr.strip()[-500:]}")
        bento = done.stdout.split()[-1]
    image = f"{name}:{bento.partition(':')[2]}"
    line = [sys.executable, "-m", "bentoml", "containerize", bento, *engine.build_options, "--image-tag", image]
    done = subprocess.run(line, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise PackagingError(f"the image cannot be built: {done.stdout.strip()[-1_500:]}")
    return image


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="deploy.image", description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--gpu", action="store_true", help="with the engine for GPUs")
    parser.add_argument("--name", default="nsmc-sentiment")
    parser.add_argument("--base", action="store_true", help="make the base image here")
    arguments = parser.parse_args()
    try:
        engine = ContainerEngine.found()
        if arguments.base and not engine.has(BASE):
            make_base(engine)
        image = build(engine, arguments.workspace, arguments.name, gpu=arguments.gpu)
    except (EngineMissing, PackagingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    megabytes = int(engine.command("image", "inspect", "--format", "{{.Size}}", image)) / 1e6
    print(f"{image}, {megabytes:,.0f} MB, built by {engine.build} on {os.uname().machine}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
