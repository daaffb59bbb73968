"""Comparing, backtesting, analysing, laying out and signing policies."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from safegen.cli.policy import app
from safegen.errors import PolicyError, RequestError
from safegen.policy import PromptRequest, load_policy
from safegen.policy.analysis import HINTS, analyse
from safegen.policy.compare import backtest, differences
from safegen.policy.layout import laid_out
from safegen.policy.prompt_files import read_requests
from tests.unit.policy.conftest import allow, erase, policy_of, refuse

ROOT = Path(__file__).parents[3]
DEFAULT = ROOT / "policies" / "default.yaml"
RUNNER = CliRunner()
TODAY = date(2026, 6, 1)


def run(*words: object) -> tuple[int, str]:
    result = RUNNER.invoke(app, [str(word) for word in words])
    return result.exit_code, result.output or str(result.exception)


def findings(*rules: dict[str, object], **fields: object) -> set[tuple[str, str]]:
    policy = policy_of(*rules).model_copy(update=fields)
    return {(one.code, one.subject) for one in analyse(policy, now=TODAY, adapters=("sticker/cat",))}


def test_differences_are_those_of_meaning() -> None:
    """What is added, removed and changed is named down to the field; order and layout are no differences."""
    old = policy_of(erase(), refuse("gun"))
    new = policy_of(refuse("gun", "knife"), allow("glue gun"))
    assert differences(old, policy_of(refuse("gun"), erase())) == ()
    assert [(one.kind, one.part, one.name, one.field) for one in differences(old, new)] == [
        ("added", "rule", "allow", ""),
        ("removed", "rule", "erase", ""),
        ("changed", "rule", "refuse", "match"),
    ]


def test_a_backtest_counts_by_rule_with_examples() -> None:
    """Each prompt that is decided otherwise counts for the rules that start or stop to apply."""
    old = policy_of(refuse("gun", rule="guns"), erase(match={"concepts": ["cat"]}))
    new = policy_of(
        refuse("knife", rule="knives"),
        erase(match={"concepts": ["cat"]}),
        refuse("tree", rule="t") | {"mode": "shadow"},
    )
    asked = [PromptRequest(prompt=one) for one in ("a gun", "a knife", "two guns", "a cat", "a tree")]
    result = backtest(old, new, asked, now=TODAY)
    assert (result.prompts, result.changed) == (5, 3)
    assert result.outcomes == {("refuse", "allow"): 2, ("allow", "refuse"): 1}
    assert [(one.rule, one.started, one.stopped) for one in result.rules] == [("guns", 0, 2), ("knives", 1, 0)]
    assert result.rules[0].examples == ["a gun", "two guns"]
    assert result.in_shadow == {"t": 1}


def test_prompts_come_from_four_kinds_of_files(tmp_path: Path) -> None:
    """CSV, JSON Lines, Parquet and plain text give the same requests."""
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    rows = [
        {"prompt": 'a "gun", small', "market": "de"},
        {"prompt": "", "market": None},
        {"prompt": "猫", "market": None},
    ]
    (tmp_path / "a.csv").write_text('id,prompt,market\n1,"a ""gun"", small",de\n2,,\n3,猫,\n', encoding="utf-8")
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    wanted = [PromptRequest(prompt='a "gun", small', market="de"), PromptRequest(prompt=""), PromptRequest(prompt="猫")]
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert list(read_requests(tmp_path / name)) == wanted, name
    (tmp_path / "a.txt").write_text("one\ntwo\n", encoding="utf-8")
    assert [one.prompt for one in read_requests(tmp_path / "a.txt")] == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"stage": "decided"}', "ledger.s folder, or a whole export"),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": "b", "market": 3}', "row 2"),
        ("a.jsonl", "{", "cannot read"),
        ("a.jsonl", "[]", "must be an object"),
        ("a.xls", "", "come from"),
        ("a.parquet", "no", "cannot read"),
    ],
)
def test_rows_without_prompts_are_errors(tmp_path: Path, name: str, text: str, message: str) -> None:
    """A row that is no request stops the reading and is named; nothing is skipped."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=message):
        list(read_requests(tmp_path / name))


def test_analysis_finds_rules_that_cannot_act() -> None:
    """Rules whose words are all refused or all allowed elsewhere are found, and so are vain allowances."""
    cat = erase("cats", match={"concepts": ["cat"]})
    assert ("shadowed-rule", "cats") in findings(cat, refuse("cat", "kitten"))
    assert ("shadowed-rule", "cats") not in findings(cat, refuse("cat"))
    assert ("dead-rule", "cats") in findings(cat, allow("cat", "kitten"))
    assert ("conflict", "allow") in findings(allow("toy gun", "toy"), refuse("toy gun"))
    assert ("shadowed-rule", "allow") in findings(allow("toy gun"), refuse("gun"))


def test_analysis_finds_gaps_and_what_has_run_out() -> None:
    """Absent adapters, unreachable thresholds, categories without reviewer and ended exceptions are found."""
    nudes = {"id": "nudes", "match": "any", "action": "review", "reviews": [{"reviewer": "nudenet", "threshold": 0.1}]}
    exception = {"rules": ["refuse"], "match": {"phrases": ["gun"]}, "owner": "Ana", "reason": "News"}
    exceptions = [
        {**exception, "id": "old", "expires": "2026-05-31"},
        {**exception, "id": "soon", "expires": "2026-06-02"},
    ]
    found = findings(erase(), nudes, refuse("gun") | {"rollout": {"percent": 0}}, exceptions=exceptions)
    assert found == {
        ("absent-adapter", "pistol"),
        ("absent-adapter", "santa claus"),
        ("absent-adapter", "van gogh"),
        ("unreachable-threshold", "nudes"),
        ("category-without-reviewer", "object"),
        ("category-without-reviewer", "character"),
        ("category-without-reviewer", "style"),
        ("category-without-reviewer", "weapon"),
        ("expired-exception", "old"),
        ("expiring-exception", "soon"),
        ("rollout-at-zero", "refuse"),
    }
    gates = findings(erase("a"), erase("b", strength=2))
    assert ("conflict", "cat") in gates


def test_words_inside_words_are_noted() -> None:
    """A concept whose words ask for another concept too is noted."""
    concepts = [
        {"name": "gun", "category": "weapon", "phrases": ["gun"]},
        {"name": "water gun", "category": "toy", "phrases": ["water gun"]},
    ]
    found = findings(refuse("x"), concepts=concepts)
    assert ("contained-phrase", "water gun") in found
    assert ("contained-phrase", "gun") not in found


def test_layout_is_stable_and_keeps_meaning_and_comments() -> None:
    """Laying out twice is laying out once; data and comments stay, order and indentation become the usual ones."""
    head = "kind: Policy # what\napiVersion: safegen/v1\nid: x\nversion: 1\nbase: b\nrules:\n"
    text = head + "# why\n- {id: a,   match: any, action: refuse, reason: 'No: 010'}\n"
    once = laid_out(text, source="x")
    assert laid_out(once, source="x") == once
    assert load_policy(once, source="x").digest == load_policy(text, source="x").digest
    assert "# what" in once
    assert "# why" in once
    assert "  - {id: a, match: any, action: refuse, reason: 'No: 010'}" in once


def test_a_file_with_problems_is_not_laid_out() -> None:
    """What cannot be read cannot be laid out, and neither can what says something twice."""
    for text in ("a: [", "a: 1\na: 2\n"):
        with pytest.raises(PolicyError):
            laid_out(text, source="x")


def test_the_commands_tell_by_their_exit_codes(tmp_path: Path) -> None:
    """diff, backtest, analyze and fmt give 0, or the documented code when something is found."""
    other = tmp_path / "other.yaml"
    other.write_text(DEFAULT.read_text(encoding="utf-8").replace("kitten, ", ""), encoding="utf-8")
    prompts = tmp_path / "p.txt"
    prompts.write_text("a kitten\na tree\n", encoding="utf-8")
    assert run("diff", DEFAULT, DEFAULT, "--exit-code") == (0, "no difference\n")
    code, output = run("diff", DEFAULT, other, "--exit-code", "--json")
    assert (code, [one["name"] for one in json.loads(output)]) == (4, ["cat"])
    code, output = run("backtest", DEFAULT, other, "--prompts", prompts, "--exit-code")
    assert (code, output.splitlines()[0]) == (4, "1 of 2 prompts are decided otherwise")
    assert json.loads(run("backtest", DEFAULT, other, "--prompts", prompts, "--json")[1])["rules"][0]["stopped"] == 1
    assert run("analyze", DEFAULT) == (0, "nothing found\n")
    other.write_text(DEFAULT.read_text(encoding="utf-8").replace("sticker/cat", "sticker/lynx"), encoding="utf-8")
    code, output = run("analyze", other, "--json")
    assert (code, json.loads(output)[0]["code"]) == (1, "absent-adapter")
    other.write_text("id:   x\n", encoding="utf-8")
    assert run("fmt", "--check", other)[0] == 4
    assert (run("fmt", other)[0], other.read_text(encoding="utf-8"), run("fmt", "--check", other)[0]) == (
        0,
        "id: x\n",
        0,
    )


def test_a_signature_holds_for_what_was_signed(tmp_path: Path) -> None:
    """A signed policy verifies after a change of layout, and not after a change of content, key or signature."""
    policy, key = tmp_path / "p.yaml", tmp_path / "key"
    policy.write_text(DEFAULT.read_text(encoding="utf-8"), encoding="utf-8")
    assert run("verify", policy, "--key", tmp_path / "key.pub")[0] == 1
    assert run("sign", policy, "--key", key, "--create")[0] == 0
    assert key.stat().st_mode & 0o077 == 0
    verify = ("verify", policy, "--key", tmp_path / "key.pub")
    assert run(*verify)[0] == 0
    policy.write_text("# note\n" + policy.read_text(encoding="utf-8"), encoding="utf-8")
    assert run(*verify)[0] == 0
    policy.write_text(policy.read_text(encoding="utf-8").replace("kitten", "lion"), encoding="utf-8")
    assert run(*verify) == (4, run(*verify)[1])
    assert "says something else" in run(*verify)[1]
    policy.write_text(policy.read_text(encoding="utf-8").replace("lion", "kitten"), encoding="utf-8")
    assert run(*verify)[0] == 0
    signature = tmp_path / "p.yaml.sig"
    said = json.loads(signature.read_text(encoding="utf-8"))
    signature.write_text(json.dumps({**said, "signature": "A" + said["signature"][1:-4] + "AAA="}), encoding="utf-8")
    assert run(*verify)[0] == 4
    signature.write_text("{}", encoding="utf-8")
    assert "no signature of a policy" in run(*verify)[1]
    signature.unlink()
    assert "no signature" in run(*verify)[1]
    assert run("sign", policy, "--key", tmp_path / "other", "--create")[0] == 0
    code, output = run(*verify)
    assert (code, "was signed by key" in output) == (4, True)


def test_comparing_needs_whole_policies(tmp_path: Path) -> None:
    """A policy that does not load is an error of the command."""
    broken = tmp_path / "b.yaml"
    broken.write_text("id: [", encoding="utf-8")
    assert run("diff", broken, DEFAULT)[0] == 1


def test_a_finding_is_shown_where_its_subject_stands(tmp_path: Path) -> None:
    """`analyze` points at the exception that ran out, in the layer that it stands in, and says what to do."""
    head = "apiVersion: safegen/v1\nkind: Policy\nversion: 1\n"
    exception = (
        "exceptions:\n  - {id: old, rules: [no-guns], match: {phrases: [gun]}, owner: Ana, reason: X, "
        'expires: "2026-05-31"}\n'
    )
    rule = "rules:\n  - {id: no-guns, match: {phrases: [gun]}, action: refuse, reason: No.}\n"
    (tmp_path / "company.yaml").write_text(f"{head}id: company\nbase: sticker\n{rule}{exception}", encoding="utf-8")
    (tmp_path / "tenant.yaml").write_text(f"{head}id: tenant\nextends: [company.yaml]\n", encoding="utf-8")
    code, output = run("analyze", tmp_path / "tenant.yaml", "--now", "2026-06-01")
    assert code == 0
    assert output.splitlines() == [
        f"{tmp_path}/company.yaml:9:10: warning: it ran out on 2026-05-31; its owner is Ana [expired-exception]",
        '  9 |   - {id: old, rules: [no-guns], match: {phrases: [gun]}, owner: Ana, reason: X, expires: "2026-05-31"}',
        "    |          ^^^",
        "  hint: remove it, or have its owner renew it",
        "1 warning",
    ]
    found = json.loads(run("analyze", tmp_path / "tenant.yaml", "--now", "2026-06-01", "--json")[1])
    assert (found[0]["file"], found[0]["line"]) == (f"{tmp_path}/company.yaml", 9)


def test_every_kind_of_finding_says_what_to_do() -> None:
    """No code is without a hint."""
    assert set(HINTS) >= {"dead-rule", "shadowed-rule", "conflict", "crosstalk", "absent-adapter", "contained-phrase"}
    assert all(HINTS.values())
