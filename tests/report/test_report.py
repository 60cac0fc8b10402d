from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from secondthought.credit.reflect_retry import anchored, reflection_only
from secondthought.engines.base import Sampling
from secondthought.engines.factory import engine_for
from secondthought.errors import UserError
from secondthought.protocols.reflect_retry import Prompts, reflect_retry
from secondthought.report import formats
from secondthought.report.terminal import summary
from secondthought.report.tokens import TokenTexts
from secondthought.rollouts import rollout
from secondthought.runs.files import write_json
from secondthought.runs.journal import Journal
from secondthought.runs.reports import estimate_json, report_json
from secondthought.tasks.countdown import Countdown
from secondthought.types import Arm, Estimate, Report, Task, Verdict

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def run(tiny_folder: Path, tmp_path: Path) -> Path:
    """A run folder without a summary, whose prompts try to break the page."""

    def lottery(task: Task, text: str) -> Verdict:
        return Verdict(float(sum(map(ord, text)) % 3 == 0), text, EVIL)

    tasks = Countdown("train")
    versions = {"secondthought": "0", "torch": "0"}
    journal = Journal(tmp_path / "run", {"recipe": {"model": str(tiny_folder)}, "versions": versions, "seed": 0})
    prompts = Prompts(reflection=f"wrong {EVIL}", retry="retry")

    async def protocol(task: Task, n: int) -> object:
        return await reflect_retry(task, n, grade=lottery, prompts=prompts)

    groups = rollout(protocol, [tasks[i] for i in range(6)], 4, engine_for(str(tiny_folder)), Sampling(max_tokens=6))  # type: ignore[arg-type]
    signals = [anchored(reflection_only, "retry")(group) for group in groups]
    journal.write(1, groups, signals, {"reward/retry": 0.25, "length/reflection": 5.0, "loss/kl": 0.1})
    return tmp_path / "run"


def test_a_run_still_going_has_a_page_and_model_text_is_inert(run: Path) -> None:
    page = formats.write(run).read_text()
    assert "no summary yet" in page
    assert "<script" not in page
    assert "&lt;" in page
    assert "rgba(22,163,74" in page
    assert "rgba(220,38,38" in page
    assert "⚓" in page


def test_the_page_needs_no_network(run: Path) -> None:
    page = formats.write(run).read_text()
    for word in ("src=", "@import", "url(http", "<link", "fetch("):
        assert word not in page
    assert len(page) < 5 * 2**20


def test_any_probe_and_any_unit_has_its_place(run: Path) -> None:
    one, long = Estimate(0.5, 0.4, 0.6, 3), Estimate(12.0, math.nan, math.nan, 3, "tokens")
    report = report_json(
        Report("mine", f"it works {EVIL}", "inconclusive", ("why",), (Arm("a", "an arm", one), Arm("b", "length", long)))
    )
    sides = {"before": report, "after": report, "change": {"a": estimate_json(Estimate(0.1, 0.0, 0.2, 3, "difference"))}}
    training = {"sampled_tokens": 5, "seconds": 1.0, "zero_signal_groups": 1.0}
    found = {"run": "run", "kind": "train", "probes": {"mine": sides}, "comparisons": {"beside": report}, "training": training}
    write_json(run / "summary.json", found)
    page = formats.write(run).read_text()
    assert "50.0 [40.0, 60.0]" in page
    assert "+10.0 [+0.0, +20.0]" in page
    assert "<script" not in page
    assert "Nothing was learned" in page
    for words in ("an arm", "50.0 [40.0, 60.0]", "12.0", "inconclusive: it works", "Nothing was learned"):
        assert words in summary(found)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        formats.write(tmp_path)


def test_an_unknown_format_and_a_broken_summary_are_named(run: Path) -> None:
    with pytest.raises(UserError, match="there is no format 'pdf'; choose html, md, png"):
        formats.write(run, "pdf")
    (run / "summary.json").write_text('{"run": ')
    with pytest.raises(UserError, match=r"summary.json is broken"):
        formats.write(run)


def test_markdown_says_the_same_and_holds_no_markup_of_the_models(run: Path) -> None:
    path = formats.write(run, "md")
    text = path.read_text()
    assert path.name == "report.md"
    assert "## What was paid" in text
    spans = re.sub(r"(`+)(?!`).*?[^`]\1(?!`)", "", text)
    assert "alert(1)" in text  # it is there,
    assert "alert(1)" not in spans  # but only in code spans, where it is no markup
    assert "<svg" not in text
    assert "font-family" not in text


def test_the_picture_is_fit_for_print(run: Path, tmp_path: Path) -> None:
    from PIL import Image

    path = formats.write(run, "png", tmp_path / "print" / "picture.png")
    image = Image.open(path)
    assert round(image.info["dpi"][0]) == 300
    assert image.width > 2000
    (run / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match="no picture yet"):
        formats.write(run, "png")


def test_a_run_of_500_steps_stays_below_5_megabytes(run: Path) -> None:
    names = (
        "reward/first",
        "reward/retry",
        "length/reflection",
        "length/retry",
        "loss/kl",
        "sampler_gap/mean",
        "second_try/first",
        "second_try/second",
    )
    line = {name + end: 0.123456789 for name in names for end in ("", "/low", "/high")}
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(1, 501):
            file.write(json.dumps({"step": step, **{k: v * (1 + step % 7) for k, v in line.items()}}) + "\n")
    for form in ("html", "md", "png"):
        assert formats.write(run, form).stat().st_size < 5 * 2**20


def test_the_report_of_a_probe_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "probe").mkdir()
    write_json(tmp_path / "probe" / "resolved.json", {"kind": "probe", "recipe": {}, "versions": {}, "seed": 0, "layout": 2})
    with pytest.raises(UserError, match=r"no summary\.json yet"):
        formats.write(tmp_path / "probe")


def test_tokens_are_spelled_with_their_spaces(tmp_path: Path, tiny_folder: Path) -> None:
    token_texts = TokenTexts(tmp_path, "nano/countdown")
    assert token_texts.tokenizer is not None
    ids = token_texts.tokenizer.encode("start with 3 * 5", add_special_tokens=False).ids
    assert token_texts.pieces(ids) == ["start", " with", " 3", " *", " 5"]
    assert TokenTexts(tmp_path, "somebody/never-downloaded").pieces(ids) is None
    assert TokenTexts(tmp_path, "no such : name").pieces(ids) is None
