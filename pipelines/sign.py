"""Sign a model of the Bento model store: ``python -m pipelines.sign [TAG]``, by itself the one that was packaged.

The private key is in ``$SIGNING_KEY``, a PEM file of an elliptic curve (P-256, P-384 or P-521), with
``$SIGNING_KEY_PASSWORD`` if it is encrypted. Services that have the public one refuse what is not signed, or was
changed; see ``serving.signature``.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import bentoml
from bentoml.exceptions import BentoMLException

from data.bundle import SIGNATURE_FILE
from data.files import writing
from pipelines import artifacts, stage
from pipelines.errors import PackagingError

KEY, PASSWORD = "SIGNING_KEY", "SIGNING_KEY_PASSWORD"
STORE_FILE = "model.yaml"
"""BentoML's own note beside a model's files; it is another one in each store."""


def sign(folder: Path) -> bool:
    """Sign all files of the bundle in ``folder``, if there is a key; says whether there is one."""
    if not (key := os.environ.get(KEY)):
        return False
    from model_signing import hashing, signing

    try:
        signer = signing.Config().use_elliptic_key_signer(
            private_key=Path(key),
            password=os.environb.get(PASSWORD.encode()),  # type: ignore[arg-type]  # the library hands it on, as bytes
        )
    except (OSError, ValueError, TypeError) as error:
        raise PackagingError(
            f"{KEY} cannot be used: {error if isinstance(error, TypeError) else type(error).__name__}; it must be the "
            f"PEM file of a P-256, P-384 or P-521 key, with {PASSWORD} where it is encrypted"
        ) from error
    files = hashing.Config().set_ignored_paths(paths=[SIGNATURE_FILE, STORE_FILE])
    with tempfile.TemporaryDirectory(prefix="sign-") as elsewhere:  # nothing but the bundle is in its folder meanwhile
        signature = Path(elsewhere) / SIGNATURE_FILE
        signer.set_hashing_config(files).sign(folder, signature)
        with writing(folder / SIGNATURE_FILE) as temporary:
            shutil.copyfile(signature, temporary)
    return True


def main() -> None:
    """See the module."""
    if len(sys.argv) < 2 and not artifacts.PACKAGE.exists():
        raise PackagingError("nothing was packaged yet; name the TAG of a model in the store")
    tag = sys.argv[1] if len(sys.argv) > 1 else artifacts.read_json(artifacts.PACKAGE)["model_tag"]
    try:
        folder = Path(bentoml.models.get(tag).path)
    except (BentoMLException, ValueError) as error:
        raise PackagingError(f"the model store has no {tag}: {error}") from error
    if not sign(folder):
        raise PackagingError(f"{KEY} is not set; it names the PEM file of the private key")
    print(f"{tag} is signed")


if __name__ == "__main__":
    stage.run(main)
