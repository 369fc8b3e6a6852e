"""Releases as users have them: a wheel of a tree, installed into a folder of its own."""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
_OF_A_WHEEL = ("pyproject.toml", "README.md", "LICENSE", "worker", "tasks")


@dataclass(frozen=True, slots=True)
class Release:
    """An installed release.

    Attributes:
        name: of its processes and logs.
        folder: what pip installed it into.
    """

    name: str
    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """In which Python imports it rather than whatever else is installed."""
        return {"PYTHONPATH": str(self.folder)}

    def axn(self, *arguments: str) -> list[str]:
        """Its own command, where no tree lies about: Celery imports tasks from the current folder before all others."""
        return ["env", f"--chdir={self.folder}", str(self.folder / "bin" / "axn"), *arguments]


def this_tree(into: Path) -> Path:
    """A copy of what a wheel is made of."""
    into.mkdir(parents=True)
    for name in _OF_A_WHEEL:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, into / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, into / name)
    return into


def tree_of(revision: str, into: Path) -> Path:
    """The tree of a revision of this repository."""
    archive = _run(["git", "archive", "--format=tar", revision], cwd=REPOSITORY)
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(into, filter="data")
    return into


def installed(name: str, tree: Path, into: Path) -> Release:
    """Make a wheel of a tree and install it; the network is not asked for anything."""
    wheels, folder = into / f"{name}-wheel", into / name
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)], cwd=tree)
    (wheel,) = wheels.glob("*.whl")
    offline = ["--no-deps", "--no-index", "--no-compile", "--quiet", "--disable-pip-version-check"]
    _run([sys.executable, "-m", "pip", "install", *offline, "--target", str(folder), str(wheel)], cwd=into)
    return Release(name, folder)


def both_installed(folder: Path, *named: tuple[str, Callable[[Path], Path]]) -> tuple[Release, Release]:
    """Two of them, made at the same time.

    Args:
        folder: for all that is made.
        named: their names, and who makes the tree of each.
    """

    def make(name: str, tree: Callable[[Path], Path]) -> Release:
        return installed(name, tree(folder / f"{name}-tree"), folder)

    with ThreadPoolExecutor() as at_once:
        older, newer = at_once.map(make, *zip(*named, strict=True))
    return older, newer


def _run(command: Sequence[str], *, cwd: Path) -> bytes:
    done = subprocess.run(command, cwd=cwd, capture_output=True, check=False, env=os.environ)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout
