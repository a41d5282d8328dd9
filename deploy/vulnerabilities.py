"""Known vulnerabilities of what is locked: ``python -m deploy.vulnerabilities [--service pypi|osv] [FILE ...]``.

pip-audit asks a service for each pinned version; nothing is installed. Ends with 1 where there are some, and where the
service could not be asked for every package.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCKS = tuple(Path("requirements") / name for name in ("serve.txt", "dev.txt", "torch.txt"))


class NotAsked(RuntimeError):
    """The service cannot be reached, or does not know a package."""


def ask(lock: Path, service: str) -> list[dict[str, Any]]:
    """What pip-audit reports of each package that ``lock`` pins. Raises NotAsked."""
    options = ["--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *options, "--vulnerability-service", service, "--requirement", str(lock)],
        capture_output=True,
        text=True,
    )
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError as error:
        said = done.stderr.strip().splitlines() or ["nothing was said"]
        raise NotAsked(f"{service} cannot be asked for known vulnerabilities from here: {said[-1][:200]}") from error
    unknown = [each["name"] for each in packages if "skip_reason" in each]
    if unknown:
        raise NotAsked(
            f"{service}, as it is reached from here, says nothing of {len(unknown)} of the {len(packages)} packages in "
            f"{lock}, {unknown[0]} for example; this is no audit"
        )
    return packages


def found(packages: list[dict[str, Any]]) -> list[str]:
    """A line for each vulnerability."""
    return [
        f"{package['name']} {package['version']}: {each['id']}, fixed in {', '.join(each['fix_versions']) or 'nothing'}"
        for package in packages
        for each in package["vulns"]
    ]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="deploy.vulnerabilities", description=__doc__)
    parser.add_argument("locks", nargs="*", type=Path, default=LOCKS)
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi")
    arguments = parser.parse_args()
    some = False
    for lock in arguments.locks:
        try:
            packages = ask(lock, arguments.service)
        except NotAsked as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        lines = found(packages)
        print(f"{lock}: {len(packages)} packages, {len(lines)} known vulnerabilities", *lines, sep="\n  ")
        some |= bool(lines)
    return int(some)


if __name__ == "__main__":
    sys.exit(main())
