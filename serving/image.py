"""What the service's container is made of; ``bentoml containerize`` reads it from the Bento."""

from bentoml.images import Image

BASE = "docker.io/library/python:3.11-slim-bookworm"
GPU_PACKAGES = ("torch==2.13.0", "onnx>=1.20")
"""The engine for GPUs: torch brings CUDA's libraries along, the machine its driver."""


def image(*, gpu: bool) -> Image:
    """Python and the locked requirements, and nothing that would build packages: BentoML's own image is twice as large.

    ``distro`` is what keeps BentoML from installing compilers.
    """
    made = Image(base_image=BASE, distro="custom", lock_python_packages=False)
    return made.python_packages(*GPU_PACKAGES) if gpu else made
