"""Signatures of bundles: where a public key is configured, nothing is loaded that its owner did not sign.

A signature is in the format of OpenSSF's model signing: a Sigstore bundle over the SHA-256 of each file of the folder.
What ``pipelines.sign`` writes is checked here, and ``model_signing verify key`` says the same of it.
"""

from pathlib import Path

from data.bundle import SIGNATURE_FILE
from serving.errors import ModelUnavailable


def check_signature(folder: Path, public_key: Path) -> None:
    """Raise ModelUnavailable unless the owner of ``public_key`` signed just the files that are in ``folder``."""
    from model_signing.verifying import Config  # its libraries take a while to load

    signature = folder / SIGNATURE_FILE
    if not signature.is_file():
        raise ModelUnavailable(f"the bundle is not signed ({SIGNATURE_FILE} is missing), and SIGNING_PUBLIC_KEY is set")
    try:
        Config().use_elliptic_key_verifier(public_key=public_key).verify(folder, signature)
    except Exception as error:  # whatever is wrong with key, signature or files: they were not verified
        reason = str(error) if type(error) is ValueError else f"{SIGNATURE_FILE} is no signature of this key"
        raise ModelUnavailable(f"the signature of the bundle does not hold: {reason}") from error
