"""The paper's Tables 6 and 7 from its own result files, and what is left of them within a model size."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tests.published import published
from typer.testing import CliRunner

from secondthought.cli import app
from secondthought.errors import UserError
from secondthought.reproduce.reflection_in_pretraining import FILES, TASKS, mean_r, tables

# accuracy, explicit rate, implicit accuracy, explicit accuracy, in the order of TASKS
TABLES = {
    "situational": [(.73, .77, .38, .75), (.70, .67, .36, .68), (.72, .78, -.16, .71), (.84, .84, .01, .86), (.84, .85, -.01, .86), (.72, .49, .62, .70)],
    "self": [(.44, .88, -.03, .43), (.69, .70, .53, .57), (.38, .49, .21, .39), (.26, .75, -.05, .24), (.32, .75, .07, .33), (.09, .73, -.11, .31)],
}  # fmt: skip
MEASURES = ("accuracy", "explicit_rate", "implicit_accuracy", "explicit_accuracy")
WITHIN = (.50, .39, .41, .64, .65, .42)  # fmt: skip


def test_tables_6_and_7_and_our_correction() -> None:
    found = tables(published("reflection_in_pretraining"))
    for setting, table in TABLES.items():
        for task, row in zip(TASKS, table, strict=True):
            for measure, r in zip(MEASURES, row, strict=True):
                assert found[setting][task][measure]["pooled"] == pytest.approx(r, abs=0.0065), (setting, task, measure)
                assert found[setting][task][measure]["n"] == 40
    assert [round(found["situational"][t]["accuracy"]["within_size"], 2) for t in TASKS] == list(WITHIN)
    assert mean_r(found["situational"], "accuracy", "pooled") == pytest.approx(0.758, abs=0.0005)
    assert mean_r(found["situational"], "accuracy", "within_size") == pytest.approx(0.50, abs=0.005)
    assert mean_r(found["self"], "accuracy", "pooled") == pytest.approx(0.36, abs=0.005)
    assert [found["situational"][t]["accuracy"]["with_a_correct_answer"] for t in TASKS] == [40, 31, 40, 40, 40, 40]


def test_the_command_prints_json() -> None:
    where = published("reflection_in_pretraining")
    result = CliRunner().invoke(app, ["reproduce", "reflection_in_pretraining", "--data", str(where), "--json"])
    found = json.loads(result.stdout)
    assert (found["name"], found["budget"]) == ("reflection_in_pretraining", "quick")
    assert set(found["tables"]) == {"situational", "self"}
    claims = {claim["id"]: claim for claim in found["claims"]}
    assert set(claims["situational_pooled"]) == {"id", "text", "source", "published", "measured", "verdict", "reasons"}
    assert claims["situational_pooled"]["published"] == 0.76
    assert claims["situational_pooled"]["measured"]["value"] == pytest.approx(0.758, abs=0.001)
    assert claims["situational_within_size"]["measured"]["value"] == pytest.approx(0.50, abs=0.005)


def test_data_is_needed_and_that_is_said_in_a_sentence() -> None:
    result = CliRunner().invoke(app, ["reproduce", "reflection_in_pretraining"])
    assert "--data is needed" in str(result.exception)
    result = CliRunner().invoke(app, ["reproduce", "rrr", "--data", "x"])
    assert "takes no --data" in str(result.exception)


def fake(folder: Path, **changes: str) -> None:
    """Result files with two sizes in which only size matters."""
    for setting, name in FILES.items():
        column = "Task" if setting == "situational" else "Task_family"
        with (folder / name).open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow([column, "Checkpoint", "Metric", "Average", "olmo-params", "Flops"])
            for task in TASKS:
                accuracy = {"triviaqa_adv": "exact_match,none" if setting == "situational" else "answer_exists,none"}.get(
                    task, "pass@1,create_test"
                )
                for size in (7, 32):
                    for step in range(5):
                        for metric in (accuracy, "reflection", "accurate_impl_reflection", "accurate_expl_reflection"):
                            value = changes.get(f"{setting} {task} {metric}", str(size / 100 + (0.01 if step % 2 else -0.01)))
                            rows.writerow([task, f"{size}-{step}", metric, value, size, size / 10 + step / 10])


def test_a_trend_that_is_only_size_vanishes_within_size(tmp_path: Path) -> None:
    fake(tmp_path)
    found = tables(tmp_path)["situational"]["bbh_adv"]["accuracy"]
    assert found["pooled"] > 0.9
    assert abs(found["within_size"]) < 0.3


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / FILES["self"]).unlink(), "there is no"),
        (lambda folder: (folder / FILES["self"]).write_bytes(b"Task_family\xff\n"), "not UTF-8"),
        (lambda folder: (folder / FILES["self"]).write_text("a,b\n1,2\n"), "there is no column"),
        (lambda folder: fake(folder, **{"self bbh_adv reflection": "much"}), "line .*must be a number"),
        (lambda folder: (folder / FILES["self"]).write_text((folder / FILES["self"]).read_text() * 2), "second time|numbers"),
    ],
)  # fmt: skip
def test_broken_files_are_named(tmp_path: Path, spoil: object, words: str) -> None:
    fake(tmp_path)
    spoil(tmp_path)  # type: ignore[operator]
    with pytest.raises(UserError, match=words):
        tables(tmp_path)
