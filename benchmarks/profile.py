"""Where the time of our whole step goes, by kind of work."""

from __future__ import annotations

import cProfile
import pstats
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.setting import SIZES, saved
from benchmarks.whole_step import Ours

# What a function's own time is counted as: the first of these names that its own contains.
KINDS = {
    "matrix products, of sampling and of learning": ("mkldnn", "_nn.linear", "torch.addmm"),
    "training: backward pass, without its products": ("run_backward", "kernels.py:backward", "_back"),
    "decoding: attention": ("native.py:attend", "torch.bmm"),
    "decoding: norms and gates": ("native.py:norm", "native.py:swiglu"),
    "drawing tokens": ("native.py:choose", "sampler.py"),
    "training: attention, forward": (
        "kernels.py:forward",
        "kernels.py:_tree_probs",
        "native.py:tree_softmax",
        "scaled_dot_product_attention",
    ),
}


def measure(repeats: int, *, quick: bool = False) -> list[dict[str, Any]]:
    """One entry for each kind of work, of ``repeats`` steps at 1.5M parameters."""
    del quick
    with tempfile.TemporaryDirectory() as place:
        step = Ours(saved(SIZES["1.5M"], Path(place) / "model"))
        step()
        profile = cProfile.Profile()
        profile.enable()
        for _ in range(repeats):
            step()
        profile.disable()
    spent = dict.fromkeys([*KINDS, "everything else"], 0.0)
    for (file, _, name), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        where = f"{Path(file).name}:{name}"
        kind = next((kind for kind, names in KINDS.items() if any(n in where for n in names)), "everything else")
        spent[kind] += own
    total = sum(spent.values())
    entries = [{"kind": kind, "s": round(s / repeats, 4), "share": round(s / total, 3)} for kind, s in spent.items()]
    print({e["kind"]: e["share"] for e in entries}, flush=True)
    return entries
