"""Settings reach the engine and the learner, and what cannot be set says so."""

from __future__ import annotations

import pytest

from secondthought.files import UserError
from secondthought.recipes import load, override


def test_the_engine_is_set_by_dotted_names() -> None:
    chosen = override(
        load("rrr_countdown"),
        ["engine.fast=false", "engine.precision=bfloat16", "engine.kv_mb=8", "autocast=bfloat16", "tokens=512"],
    )
    assert not chosen.engine.fast
    assert (chosen.engine.precision, chosen.engine.kv_mb) == ("bfloat16", 8)
    assert (chosen.optim.autocast, chosen.optim.tokens) == ("bfloat16", 512)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("engine.fast=maybe", "fast is a bool"),
        ("engine.precision=float8", "choose model, float32, bfloat16"),
        ("engine.kv_mb=0", "kv_mb must be at least 1"),
        ("engine.quick=true", "the nearest is"),
        ("autocast=float16", "choose off, bfloat16"),
        ("tokens=-1", "tokens must be at least 0"),
    ],
)
def test_what_cannot_be_set_is_refused_in_one_sentence(setting: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        override(load("rrr_countdown"), [setting])
