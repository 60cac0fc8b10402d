"""Every optional extra, installed alone into a clean environment, with the tests that need it: ``make test-extras``.

``python -m tests.extras.each_alone [NAME ...] [--keep FOLDER]``. One base environment holds the package without extras; the
others see it, and hold nothing but what their extra brings and what tests are run with.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ("pytest", "hypothesis", "httpx")  # what tests are run with
BESIDE = {"verifiers": ("textarena", "nltk"), "openenv": ("uvicorn",)}
TESTS: dict[str, tuple[str, ...]] = {
    "": ("tests/test_rollouts.py", "tests/test_environments.py"),
    "view": ("tests/viewer/test_app.py",),
    "data": ("tests/runs/test_export.py", "-k", "datasets or data_set"),
    "lora": ("tests/learners/test_adapters.py",),
    "quantised": ("tests/learners/test_quantised.py",),
    "math": ("tests/tasks/test_math_answers.py",),
    "gguf": ("tests/real/test_smollm2.py", "-k", "gguf"),  # gets its model itself
    "ray": ("tests/distributed/test_ray.py",),
    "tensorboard": ("tests/runs/test_trackers.py", "-k", "tensorboard"),
    "wandb": ("tests/runs/test_trackers.py", "-k", "wandb"),
    "trackio": ("tests/runs/test_trackers.py", "-k", "trackio"),
    "mlflow": ("tests/runs/test_trackers.py", "-k", "mlflow"),
    "inspect": ("tests/cli/test_inspect.py", "tests/runs/test_export.py", "-k", "inspect or log or engine or scores"),
    "verifiers": ("tests/extras/test_verifiers.py",),
    "openenv": ("tests/extras/test_openenv.py",),
}
"""The tests of each extra; of the package without any, those that need none."""


def environment(place: Path, base: Path | None = None) -> Path:
    """A new environment that sees the packages of ``base``; its python."""
    venv.create(place, with_pip=True, clear=True)
    if base is not None:
        (shared,) = (base / "lib").glob("python*/site-packages")
        (own,) = (place / "lib").glob("python*/site-packages")
        (own / "base.pth").write_text(f"{shared}\n")
    return place / "bin" / "python"


def install(python: Path, *what: str) -> None:
    """By pip, quietly."""
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what], check=True, cwd=ROOT)


def passes(name: str, python: Path) -> str:
    """Run the tests of an extra; what pytest says last. Raises SystemExit where one fails, and where none ran."""
    done = subprocess.run(
        [str(python), "-m", "pytest", "--no-header", "-p", "no:cacheprovider", *TESTS[name]],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "SECONDTHOUGHT_REAL": "1"},
    )  # fmt: skip
    said = [line.strip("= ") for line in done.stdout.splitlines() if re.search(r"\d+ (passed|failed|error)", line)]
    last = said[-1] if said else "no test ran"
    if done.returncode or "passed" not in last:
        print(done.stdout[-4000:], done.stderr[-2000:], sep="\n")
        raise SystemExit(f"the extra {name or 'none'} alone: {last}")
    return last


def main() -> None:
    """Each extra, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.extras.each_alone", description=__doc__)
    parser.add_argument("names", nargs="*", help="the extras; all, if none is named")
    parser.add_argument("--keep", type=Path, default=ROOT / ".venv-extras", help="where the environments are made")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in TESTS]:
        parser.error(f"there is no extra {unknown[0]}; there is {', '.join(filter(None, TESTS))}")
    base = options.keep / "base"
    if not (base / "ready").exists():
        pinned = (ROOT / "requirements.txt").read_text().split()
        python = environment(base)
        install(python, next(line for line in pinned if line.startswith("torch==")))
        install(python, "--editable", ".", *TOOLS)
        (base / "ready").touch()
    for name in options.names or TESTS:
        began = time.monotonic()
        python = base / "bin" / "python"
        if name:
            python = environment(options.keep / name, base)
            install(python, "--editable", f".[{name}]", *BESIDE.get(name, ()))
        print(f"{name or 'no extra':12} {passes(name, python)} ({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
