"""The shipped vectors, and the two verifiers on them: each must say what the vector's name says."""

from __future__ import annotations

import base64
import importlib.util
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safegen.errors import LedgerTamperedError
from safegen.ledger import LedgerReader, verify_ledger, verify_tlog_proof
from tests.unit.ledger.test_verify import FORGERIES, Forgery, forge, public_key

AUDIT = Path(__file__).parents[3] / "audit"
VECTORS = AUDIT / "vectors"
INDEX: dict[str, Any] = json.loads((VECTORS / "vectors.json").read_text(encoding="utf-8"))
LOGS = INDEX["logs"]
PROOFS = INDEX["proofs"]
REASONS = {
    "proof.path": "the path does not lead",
    "proof.malformed": "not a proof",
    "checkpoint.signature": "signature of|not a checkpoint",
}


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"audit_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SECOND = load(AUDIT / "verify.py")


def by_second(path: Path, key: str, kept: tuple[str, ...] = ()) -> set[tuple[str, int | None]]:
    return {(problem["name"], problem["index"]) for problem in SECOND.verify_log(path, key, kept)["problems"]}


def by_first(path: Path, key: str, kept: tuple[str, ...] = ()) -> set[tuple[str, int | None]]:
    report = verify_ledger(path, key, known_checkpoints=kept)
    return {(problem.name, problem.index) for problem in report.problems}


@pytest.mark.parametrize("vector", LOGS, ids=[vector["name"] for vector in LOGS])
@pytest.mark.parametrize("verifier", [by_first, by_second])
def test_log_vector_shows_what_its_name_says(verifier: Any, vector: dict[str, Any]) -> None:
    """Each verifier finds exactly the problems that the vector names, at their place, and no other kind."""
    found = verifier(VECTORS / f"{vector['name']}.jsonl", INDEX["key"], tuple(vector["kept"]))
    assert {name for name, _ in found} == set(vector["problems"])
    assert set(vector["problems"].items()) <= found


@pytest.mark.parametrize("vector", LOGS, ids=[vector["name"] for vector in LOGS])
def test_verifiers_agree_to_the_entry(vector: dict[str, Any]) -> None:
    """Both verifiers give the same problems at the same places, the same size and the same root."""
    path, kept = VECTORS / f"{vector['name']}.jsonl", tuple(vector["kept"])
    assert by_first(path, INDEX["key"], kept) == by_second(path, INDEX["key"], kept)
    first = verify_ledger(path, INDEX["key"], known_checkpoints=kept)
    second = SECOND.verify_log(path, INDEX["key"], kept)
    assert (first.size, first.root, first.signed_size) == (second["size"], second["root"], second["signed_size"])
    assert sorted(first.open_requests) == second["open_requests"]


@pytest.mark.parametrize("vector", PROOFS, ids=[vector["name"] for vector in PROOFS])
def test_proof_vector_shows_what_its_name_says(vector: dict[str, Any]) -> None:
    """Both verifiers take the honest proofs and refuse each forged one for its own reason."""
    record = base64.b64decode(vector["record"])
    found = [problem["name"] for problem in SECOND.verify_proof(vector["proof"], record, INDEX["key"])["problems"]]
    assert found == ([vector["problem"]] if vector["problem"] else [])
    if vector["problem"] is None:
        assert verify_tlog_proof(vector["proof"], record, INDEX["key"]).size == 18
        return
    with pytest.raises(LedgerTamperedError) as caught:
        verify_tlog_proof(vector["proof"], record, INDEX["key"])
    assert re.search(REASONS[vector["problem"]], caught.value.message)


@pytest.mark.parametrize("forgery", [forgery for _, forgery in FORGERIES], ids=lambda forgery: forgery.__name__)
def test_verifiers_agree_on_forged_databases(full_folder: Path, forgery: Forgery) -> None:
    """What is done to the database file itself is found by both, under the same names."""
    forge(full_folder, forgery)
    first, second = by_first(full_folder, public_key()), by_second(full_folder, public_key())
    assert {name for name, _ in first} == {name for name, _ in second}
    assert first


def test_second_verifier_takes_an_honest_folder(full_folder: Path) -> None:
    """A ledger as this version writes it has no problem for the verifier that knows only the documented format."""
    result = SECOND.verify_log(full_folder, public_key())
    with LedgerReader.open_read_only(full_folder) as reader:
        assert (result["ok"], result["size"], result["root"]) == (True, 15, reader.root().hex())


def test_vectors_are_what_their_generator_writes(tmp_path: Path) -> None:
    """The generator writes the shipped files byte for byte, and nothing else is shipped."""
    load(VECTORS / "generate.py").write(tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    shipped = {path.name: path.read_bytes() for path in VECTORS.iterdir() if path.suffix in {".json", ".jsonl"}}
    assert written == shipped


def test_second_verifier_stands_alone(tmp_path: Path) -> None:
    """It runs in an interpreter without any installed package, and imports nothing of safegen."""
    script = tmp_path / "verify.py"
    script.write_bytes((AUDIT / "verify.py").read_bytes())
    command = [sys.executable, "-I", "-S", str(script)]
    for name, code in (("valid", 0), ("bit_flip", 4)):
        done = subprocess.run(
            [*command, str(VECTORS / f"{name}.jsonl"), "--key", INDEX["key"]], capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (code, b"")
    assert "safegen" not in re.findall(r"^(?:import|from) (\w+)", script.read_text(encoding="utf-8"), re.MULTILINE)


def test_command_line_of_the_second_verifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A proof and its record are checked from files; what cannot be read is exit code 1."""
    proof = next(vector for vector in PROOFS if vector["name"] == "valid")
    (tmp_path / "a.tlog-proof").write_text(proof["proof"], encoding="utf-8")
    record = json.loads(base64.b64decode(proof["record"]))
    (tmp_path / "record.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    (tmp_path / "ledger.pub").write_text(INDEX["key"] + "\n", encoding="utf-8")
    common = ["--key", str(tmp_path / "ledger.pub")]
    assert SECOND.main([str(tmp_path / "a.tlog-proof"), "--record", str(tmp_path / "record.json"), *common]) == 0
    assert SECOND.main([str(tmp_path / "nothing"), *common]) == 1
    assert json.loads(capsys.readouterr().out.split("}\n")[-2] + "}")["ok"] is False


def test_pure_ed25519_agrees_with_openssl() -> None:
    """The Ed25519 check in pure Python takes what OpenSSL signed, and nothing with a changed bit."""
    randomness = random.Random(8032)
    for _ in range(4):
        key = Ed25519PrivateKey.from_private_bytes(randomness.randbytes(32))
        public, message = key.public_key().public_bytes_raw(), randomness.randbytes(40)
        signature = key.sign(message)
        assert SECOND.pure_ed25519(public, message, signature)
        place = randomness.randrange(64 * 8)
        forged = (int.from_bytes(signature, "big") ^ (1 << place)).to_bytes(64, "big")
        assert not SECOND.pure_ed25519(public, message, forged)
        assert not SECOND.pure_ed25519(public, message + b"x", signature)
        larger = int.from_bytes(signature[32:], "little") + SECOND.Q
        assert not SECOND.pure_ed25519(public, message, signature[:32] + larger.to_bytes(32, "little"))


def test_canonical_numbers_agree() -> None:
    """Both verifiers write any double the same way (RFC 8785, section 3.2.2.3)."""
    randomness = random.Random(8785)
    values = [randomness.uniform(-1, 1) * 10.0 ** randomness.randint(-30, 30) for _ in range(2000)]
    for value in [*values, 0.0, -0.0, 1e21, 1e20, 123456789012345680000.0, 1e-6, 1e-7, 5e-324, 2.0**53]:
        assert SECOND.number_text(value).encode() == rfc8785.dumps(value)
