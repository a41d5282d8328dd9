"""Package a bundle as the pipeline does, without a registry: ``python -m benchmarks.packaged BUNDLE WORKSPACE``.

A process of its own, because BentoML looks up its store once: ``BENTOML_HOME`` must name the workspace's.
"""

import shutil
import sys
from pathlib import Path

import bentoml

from pipelines import artifacts
from pipelines.package import build_bento

TAG = "benchmark:random"


def main() -> None:
    """Put the bundle into the model store, build the Bento around it, and note its tag in the workspace."""
    bundle, workspace = map(Path, sys.argv[1:])
    with bentoml.models.create(TAG) as created:
        shutil.copytree(bundle, created.path, dirs_exist_ok=True)
    package = workspace / artifacts.PACKAGE
    package.parent.mkdir(parents=True)
    artifacts.write_json(package, {"model_tag": TAG, "bento_tag": build_bento(TAG)})


if __name__ == "__main__":
    main()
