"""Coverage-guided fuzzing (atheris, libFuzzer) of all readers and loaders: ``make fuzz``.

    python -m tests.attacks.coverage readers|loaders SECONDS FOLDER

What it found worth keeping stands in FOLDER, and the next run goes on from there. A text that raises (anything but a UserError of
one line), or that takes over five seconds, is written to FOLDER/crash-... or timeout-..., and ends the run with an exit that is not 0.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["secondthought"]):
    from tests.attacks.loaders import LOADERS, written
    from tests.attacks.readers import PIECES, READERS

    from secondthought.errors import UserError

NAMES = {"readers": list(READERS), "loaders": list(LOADERS)}


def read_text(data: bytes) -> None:
    """The first byte chooses the reader, the rest is what a model wrote."""
    if data:
        READERS[NAMES["readers"][data[0] % len(READERS)]](data[1:].decode("utf-8", "replace"))


def read_file(data: bytes) -> None:
    """The first byte chooses the loader, the rest is what the file holds."""
    if not data:
        return
    loader = LOADERS[NAMES["loaders"][data[0] % len(LOADERS)]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / loader.file
        path.write_bytes(data[1:])
        try:
            loader.read(path)
        except UserError as error:
            if not str(error) or "\n" in str(error):
                raise AssertionError(f"no sentence, or more than a line: {error}") from error


def main() -> None:
    """Begin from sound examples and the pieces that readers look for."""
    what, seconds, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    corpus = folder / what
    corpus.mkdir(parents=True, exist_ok=True)
    if what == "readers":
        seeds = [bytes([i]) + PIECES[i % len(PIECES)].encode() for i in range(max(len(READERS), len(PIECES)))]
    else:
        seeds = [bytes([i]) + written(loader) for i, loader in enumerate(LOADERS.values())]
    for i, seed in enumerate(seeds):
        (corpus / f"seed_{i:03}").write_bytes(seed)
    words = folder / f"{what}.dict"
    escaped = ("".join(f"\\x{byte:02x}" for byte in piece.encode()) for piece in PIECES)
    words.write_text("".join(f'"{word}"\n' for word in escaped))
    options = [
        f"-max_total_time={seconds}", "-max_len=4000", "-timeout=5", f"-dict={words}", f"-artifact_prefix={folder}/",
        "-print_final_stats=1", "-rss_limit_mb=6000",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], {"readers": read_text, "loaders": read_file}[what])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
