"""Key pairs for signatures."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def key_pair(folder: Path, password: str | None = None) -> tuple[Path, Path]:
    """The PEM files of a new private key and its public one."""
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = (
        serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password.encode())
    )
    folder.mkdir(parents=True, exist_ok=True)
    private, public = folder / "signing.pem", folder / "signing.pub"
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public
