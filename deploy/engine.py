"""The container engine that is there: docker, or podman with buildah."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

NESTED = """\
[containers]
netns = "host"
default_ulimits = ["nofile=8192:8192", "nproc=8192:8192"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
"""
"""For podman in a container, which may neither have a network of its own nor raise limits."""


class EngineMissing(RuntimeError):
    """There is no engine, or it does not work."""


@dataclass(frozen=True, slots=True)
class ContainerEngine:
    """A program that builds and runs images; ``nested`` where it runs in a container itself."""

    run: str
    build: str
    nested: bool = False
    variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def found(cls) -> "ContainerEngine":
        """The first that is there. Raises EngineMissing."""
        if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
            return cls("docker", "docker")
        if not shutil.which("podman"):
            raise EngineMissing(
                "there is no docker daemon and no podman here; on Debian: apt-get install podman buildah runc"
            )
        build = "buildah" if shutil.which("buildah") else "podman"
        if build == "podman" or cls("podman", build)._works():
            return cls("podman", build)
        file = Path(tempfile.gettempdir()) / f"containers-{os.getuid()}.conf"
        file.write_text(NESTED, encoding="utf-8")
        return cls("podman", build, nested=True, variables={"CONTAINERS_CONF": str(file)})

    @property
    def build_options(self) -> list[str]:
        """For ``bentoml containerize``."""
        options = ["isolation=chroot", "network=host"] if self.nested else []
        return ["--backend", self.build, *(part for option in options for part in ("--opt", option))]

    def command(self, *arguments: str, check: bool = True) -> str:
        """Run ``docker ARGUMENTS`` or ``podman ARGUMENTS``; what it printed. Raises EngineMissing with what it said."""
        done = subprocess.run(
            [self.run, *arguments], env={**os.environ, **self.variables}, capture_output=True, text=True
        )
        if check and done.returncode:
            raise EngineMissing(f"{self.run} {arguments[0]} failed: {done.stderr.strip()[-500:]}")
        return done.stdout.strip()

    def has(self, image: str) -> bool:
        """Whether an image is here."""
        return bool(self.command("images", "--quiet", image))

    def _works(self) -> bool:
        """Whether root may make networks and raise limits, as in a container it often may not."""
        probe = ["unshare", "--net", "prlimit", "--nofile=1048576:1048576", "true"]
        return os.getuid() != 0 or subprocess.run(probe, capture_output=True).returncode == 0
