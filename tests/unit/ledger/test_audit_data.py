"""`safegen audit prove | export | query | keys`, as an auditor runs them."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path

import matplotlib as mpl
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pyarrow import parquet

from safegen.errors import LedgerError, LedgerTamperedError
from safegen.ledger import (
    BundleMember,
    Closed,
    Decided,
    Disagreement,
    Drawn,
    Ledger,
    LedgerKeys,
    LedgerReader,
    Permeability,
    PolicyRejected,
    Record,
    Reviewed,
    Score,
    ShadowMatch,
    plots,
    verify_ledger,
    verify_tlog_proof,
)
from safegen.ledger.analysis import Answer, saved_queries
from tests.unit.ledger.conftest import HEX, TIME, FakeClock, requested, whole_request
from tests.unit.ledger.test_audit_command import run
from tests.unit.ledger.test_second_verifier import SECOND
from tests.unit.ledger.test_verify import flip_a_bit, forge, public_key

QUERIES = Path(__file__).parents[3] / "audit" / "queries"


def withheld_request(name: str, *, score: float = 0.9, adapter: str = "nude-1") -> list[Record]:
    """A request under the nudity rule that leaked past its adapter and was withheld."""
    at = {"time": "2026-05-17T10:00:00.000000Z", "request_id": name}
    member = BundleMember(
        concept="nudity", adapter=adapter, adapter_sha256=HEX, rule="nudity", strength=1.0, transport="facilitated"
    )
    seen = Score(
        reviewer="nudenet", reviewer_digest=None, rule="nudity", label="nudity", score=score, threshold=0.2, found=True
    )
    opening = Permeability(adapter=adapter, concept="nudity", gamma=1.0)
    leak = Disagreement(kind="leak", adapter=adapter, reviewer="nudenet", score=score)
    return [
        requested(name, at["time"]),
        Decided(**at, action="prevent", rules=("nudity",), bundle=(member,)),
        Drawn(**at, attempt=0, seeds=(1,), permeabilities=(opening,), image_sha256s=(HEX,)),
        Reviewed(**at, attempt=0, image=0, scores=(seen,), verdict="withhold"),
        Closed(**at, outcome="withheld", attempts=1, disagreements=(leak,)),
    ]


@pytest.fixture
def traffic(full_folder: Path, keys: LedgerKeys, clock: FakeClock) -> Path:
    """Three released requests, one withheld one, one with hostile names, and one that nothing ended."""
    with Ledger.open(full_folder, keys=keys, clock=clock) as ledger:
        ledger.append_many(withheld_request("withheld-1"))
        ledger.append_many(withheld_request("hostile", adapter="=HYPERLINK(\x1b[31m\n<script>"))
        ledger.checkpoint()
        ledger.append(requested("open-1"))
    return full_folder


def answer(folder: Path, *arguments: str) -> list[dict[str, object]]:
    code, output = run("query", folder, *arguments, "--as", "json")
    assert code == 0, output
    found: list[dict[str, object]] = json.loads(output)
    return found


def test_proof_is_taken_by_both_verifiers(traffic: Path, tmp_path: Path) -> None:
    """`prove` writes the proof of a request's last record, which both verifiers take with that record and no other."""
    proof, record = tmp_path / "a.tlog-proof", tmp_path / "record.json"
    assert run("prove", traffic, "request-1", "--out", proof, "--record", record)[0] == 0
    assert json.loads(record.read_bytes())["stage"] == "closed"
    key = (traffic / "ledger.pub").read_text()
    assert verify_tlog_proof(proof.read_text(), record.read_bytes(), key).size == 25
    assert SECOND.verify_proof(proof.read_text(), record.read_bytes(), key)["ok"]
    with pytest.raises(LedgerTamperedError, match="path does not lead"):
        verify_tlog_proof(proof.read_text(), record.read_bytes() + b" ", key)
    assert run("prove", traffic, "9")[1] == proof.read_text()


def test_unsigned_or_unknown_entries_have_no_proof(traffic: Path) -> None:
    """What no checkpoint covers, and what is not there, is an error that says so; no key is needed to be told."""
    code, output = run("prove", traffic, "open-1")
    assert (code, "not signed yet" in output) == (1, True)
    assert "no request nobody" in run("prove", traffic, "nobody")[1]
    assert "no entry 99" in run("prove", traffic, "99")[1]


def test_export_verifies_like_the_ledger(traffic: Path, tmp_path: Path) -> None:
    """An export in JSON Lines gives the report of the ledger itself, in both verifiers."""
    path = tmp_path / "ledger.jsonl"
    assert run("export", traffic, path) == (0, f"26 entries: {path}\n")
    assert verify_ledger(path, public_key()) == verify_ledger(traffic, public_key())
    assert SECOND.verify_log(path, public_key())["ok"]
    assert run("verify", path, "--key", traffic / "ledger.pub")[0] == 0
    lines = path.read_text().replace("0.75", "0.74")
    path.write_text(lines)
    assert run("verify", path, "--key", traffic / "ledger.pub")[0] == 4


def test_export_hides_no_forgery(full_folder: Path, tmp_path: Path) -> None:
    """A forged ledger is forged in its export too."""
    forge(full_folder, flip_a_bit)
    run("export", full_folder, tmp_path / "forged.jsonl")
    report = verify_ledger(tmp_path / "forged.jsonl", public_key())
    assert "entry.altered" in {problem.name for problem in report.problems}


def test_parquet_holds_every_record(traffic: Path, tmp_path: Path) -> None:
    """The Parquet export has one row for each entry, with the record as it is."""
    path = tmp_path / "ledger.parquet"
    assert run("export", traffic, path)[0] == 0
    rows = parquet.read_table(path).to_pylist()
    with LedgerReader.open_read_only(traffic) as reader:
        assert [row["record"].encode() for row in rows] == [entry.body for entry in reader.entries()]
    assert rows[0]["time"] == "2026-01-02T03:04:05.000006Z"


def test_export_leaves_nothing_half_written(traffic: Path, tmp_path: Path) -> None:
    """A file that cannot be written is an error, and a name of no known kind is a usage error."""
    assert run("export", traffic, tmp_path / "nowhere" / "a.jsonl")[0] == 1
    assert run("export", traffic, tmp_path / "a.xlsx")[0] == 2
    assert not list(tmp_path.glob("*a.*"))


def test_every_saved_query_runs(traffic: Path) -> None:
    """Each shipped query says what it answers, and runs with its own defaults."""
    saved = saved_queries(QUERIES)
    assert set(saved) >= {"withheld", "never_closed", "benign_adapters", "disagreement_rate"}
    with LedgerReader.open_read_only(traffic) as reader:
        analysis = reader.analyse()
        for query in saved.values():
            assert query.says
            assert analysis.ask_saved(query, {}).columns


def test_withheld_nudity_in_may(traffic: Path) -> None:
    """The question of who was withheld under a rule, a month and a policy version has the right rows."""
    arguments = ("withheld", "--set", "rule=nudity", "--set", "month=2026-05", "--set", "policy_version=1")
    found = answer(traffic, *arguments)
    assert [row["request_id"] for row in found] == ["hostile", "withheld-1"]
    assert found[1]["highest_score"] == 0.9
    assert answer(traffic, *arguments[:3], "--set", "month=2026-04", "--set", "policy_version=1") == []


def test_requests_never_closed(traffic: Path) -> None:
    """The one request that nothing ended is found, and no other."""
    assert [(row["request_id"], row["state"]) for row in answer(traffic, "never_closed")] == [("open-1", "open")]


def test_adapters_on_benign_prompts(traffic: Path) -> None:
    """Adapters that were open where no reviewer came near its threshold are counted by request."""
    (row,) = answer(traffic, "benign_adapters")
    assert (row["adapter"], row["requests"], row["mean_gamma"]) == ("mascot", 3, 0.75)
    assert answer(traffic, "benign_adapters", "--set", "gamma=0.8") == []


def test_disagreement_rate(traffic: Path) -> None:
    """Leaks are counted over the requests that switched the adapter on."""
    row = next(row for row in answer(traffic, "disagreement_rate") if row["adapter"] == "nude-1")
    assert (row["adapter_sha256"], row["requests"], row["leaks"], row["rate"]) == (HEX, 1, 1, 1.0)


def test_queries_reach_no_file(traffic: Path) -> None:
    """SQL of an auditor, or of whoever gave it to him, reads and writes no file and unlocks nothing."""
    with LedgerReader.open_read_only(traffic) as reader:
        analysis = reader.analyse()
    for text in (
        "SELECT * FROM read_csv('/etc/hostname')",
        "COPY entries TO '/tmp/copied.csv'",
        "SET enable_external_access = true",
        "ATTACH '/tmp/other.db'",
    ):
        with pytest.raises(LedgerError, match="the query failed"):
            analysis.ask(text)


def test_wrong_queries_are_errors(traffic: Path) -> None:
    """Wrong SQL and unknown parameters are exit code 1 with a hint, a parameter without a value is a usage error."""
    assert run("query", traffic, "SELECT nothing FROM nowhere")[0] == 1
    assert run("query", traffic, "withheld", "--set", "colour=red")[0] == 1
    assert run("query", traffic, "withheld", "--set", "rule")[0] == 2
    assert "--set rule=nudity" in run("query", traffic)[1]


def test_hostile_names_are_shown_safely(traffic: Path) -> None:
    """Escapes do not reach the terminal and formulas do not reach a spreadsheet; JSON keeps the very text."""
    text = "SELECT adapter FROM permeabilities WHERE request_id = 'hostile'"
    code, output = run("query", traffic, text)
    assert code == 0
    assert "\x1b" not in output
    assert "\\x1b" in output
    rows = list(csv.reader(io.StringIO(run("query", traffic, text, "--as", "csv")[1])))
    assert rows[1] == ["'=HYPERLINK(\\x1b[31m\n<script>"]
    assert answer(traffic, text)[0]["adapter"] == "=HYPERLINK(\x1b[31m\n<script>"
    assert "\x1b" not in run("show", traffic)[1]


def test_damaged_records_do_not_stop_queries(full_folder: Path) -> None:
    """A ledger with a record that is no JSON still answers; the record reads as null."""
    forge(full_folder, lambda connection: connection.execute("UPDATE entries SET body = x'ff7b' WHERE \"index\" = 7"))
    (row,) = answer(full_folder, "SELECT count(*) AS lost FROM entries WHERE record IS NULL")
    assert row["lost"] == 1


def test_keys_are_shown_for_others_tools(full_folder: Path, keys: LedgerKeys) -> None:
    """The public key comes as a verifier key and as PEM, and they are the same key."""
    assert run("keys", full_folder) == (0, f"{keys.verifier_key}\n")
    pem = load_pem_public_key(run("keys", full_folder, "--pem")[1].encode())
    assert pem.public_bytes_raw() == keys.verifier_key.public  # type: ignore[union-attr]
    assert json.loads(run("keys", full_folder, "--json")[1])["key_id"] == keys.verifier_key.key_id.hex()


def test_kept_checkpoint_shows_a_rollback(full_folder: Path, tmp_path: Path) -> None:
    """A checkpoint that the auditor kept is held against the ledger."""
    kept = tmp_path / "kept"
    kept.write_text((full_folder / "checkpoint").read_text())
    assert run("verify", full_folder, "--kept", kept)[0] == 0
    other = LedgerKeys.generate("example.com/ledger").sign(15, b"\0" * 32)
    kept.write_text(other.text)
    assert run("verify", full_folder, "--kept", kept)[0] == 4


def test_report_is_one_file_without_the_network(traffic: Path, tmp_path: Path) -> None:
    """The report has every section, the verification, four or more plots, and neither script nor address."""
    path = tmp_path / "report.html"
    code, output = run("report", traffic, path)
    assert (code, output) == (0, f"verified: {path}\n")
    text = path.read_text(encoding="utf-8")
    for title in ("Volume and outcomes", "Permeability", "Scores", "Disagreements", "Latency", "Never closed"):
        assert f"<h2>{title}</h2>" in text
    assert "No tampering found in 26 entries" in text
    assert text.count("data:image/png;base64,") >= 4
    assert "<script" not in text
    assert "http:" not in text
    assert "https:" not in text
    assert "&lt;script&gt;" in text


def test_report_of_a_forged_ledger_says_so(full_folder: Path, tmp_path: Path) -> None:
    """A report on a forged ledger names the problem and ends with exit code 4."""
    forge(full_folder, flip_a_bit)
    assert run("report", full_folder, tmp_path / "report.html")[0] == 4
    assert "entry.altered" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert run("report", full_folder, tmp_path / "nowhere" / "report.html")[0] == 1


def test_report_of_an_empty_ledger(folder: Path, tmp_path: Path) -> None:
    """A ledger that nothing was written to has a report without plots."""
    Ledger.open(folder).close()
    assert run("report", folder, tmp_path / "report.html")[0] == 0
    assert "data:image" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_plots_take_any_name() -> None:
    """A name that is a broken formula, a control character or very long is drawn, and no global setting is touched."""
    before = dict(mpl.rcParams)
    rows = [(name, 0.5, 0.2) for name in (r"$\bad{$", "\x1b[31m", "x" * 500, "\\", "$$$")]
    encoded = plots.histograms(Answer(("name", "value", "threshold"), rows))
    assert base64.b64decode(encoded).startswith(b"\x89PNG")
    assert dict(mpl.rcParams) == before


def test_report_tells_of_rejected_policies_and_rules_in_shadow(ledger: Ledger, tmp_path: Path) -> None:
    """What version 2 records is in the report, with hostile words escaped."""
    first, second, *rest = whole_request("a")
    shadow = (ShadowMatch(rule="trial-rule", action="refuse"),)
    rejected = PolicyRejected(
        time=TIME, in_force=f"sha256:{HEX}", file="live.yaml", code="policy.syntax", problem="<script>alert(1)</script>"
    )
    ledger.append_many([rejected, first, second.model_copy(update={"shadow": shadow}), *rest])
    ledger.checkpoint()
    assert run("report", ledger.folder, tmp_path / "report.html")[0] == 0
    page = (tmp_path / "report.html").read_text()
    assert "trial-rule" in page
    assert "live.yaml" in page
    assert "<script>alert" not in page
