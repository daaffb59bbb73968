"""A guard that follows its policy file."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import REGISTRY

from safegen.errors import PolicyError, PolicySignatureError
from safegen.guard import Guard
from safegen.ledger import LedgerReader, verify_ledger
from safegen.policy import load_policy_file
from safegen.policy.signature import sign_policy

POLICY = """
apiVersion: safegen/v1
kind: Policy
id: live
version: {version}
description: one refusal
base: {base}
rules:
  - {{id: no-{word}s, match: {{phrases: [{word}]}}, action: refuse, reason: Not here.}}
"""


def write(path: Path, word: str, *, version: int = 1, base: str = "sticker") -> Path:
    path.write_text(POLICY.format(word=word, version=version, base=base), encoding="utf-8")
    return path


def refused(guard: Guard, prompt: str) -> bool:
    return guard.generate(prompt, steps=1, seed=1).outcome == "refused"


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"policy": "live", **labels}) or 0.0


def stages(guard: Guard) -> list[str]:
    reader = LedgerReader.open_read_only(guard.ledger_folder)
    found = [entry.record.stage for entry in reader.entries()]
    reader.close()
    return found


def test_a_changed_policy_is_in_force_from_the_next_request_and_on_record(tmp_path: Path) -> None:
    """The old rule is gone, the new one acts, and the ledger says when it changed, and still verifies."""
    path = write(tmp_path / "live.yaml", "dog")
    with Guard.open(path, ledger=tmp_path / "ledger") as guard:
        assert refused(guard, "a dog")
        write(path, "robot", version=2)
        assert refused(guard, "a robot")
        assert not refused(guard, "a dog")
        assert stages(guard).count("policy_changed") == 1
        assert verify_ledger(guard.ledger_folder, guard.verifier_key).ok


@pytest.mark.parametrize("broken", ["rules: [", "base: nosuch", "gone", "another base"])
def test_a_broken_policy_leaves_the_old_one_in_force_until_it_is_mended(tmp_path: Path, broken: str) -> None:
    """Broken YAML, a file that says nothing, a missing file, another base: none of them changes what is refused."""
    path = write(tmp_path / "live.yaml", "dog")
    with Guard.open(path, ledger=tmp_path / "ledger") as guard:
        if broken == "gone":
            path.unlink()
        elif broken == "another base":
            write(path, "robot", base="other")
        else:
            path.write_text(broken, encoding="utf-8")
        before = counted("safegen_policy_reloads_total", result="rejected")
        assert refused(guard, "a dog")
        assert refused(guard, "a dog")
        assert "policy_changed" not in stages(guard)
        assert stages(guard).count("policy_rejected") == 1
        assert counted("safegen_policy_reloads_total", result="rejected") == before + 1
        assert counted("safegen_policy_file_broken") == 1
        assert verify_ledger(guard.ledger_folder, guard.verifier_key).ok
        write(path, "robot", version=2)
        assert refused(guard, "a robot")


def test_what_a_policy_extends_is_followed_too(tmp_path: Path) -> None:
    """A change in the company's policy reaches the tenant's guard."""
    company = write(tmp_path / "company.yaml", "dog")
    tenant = tmp_path / "tenant.yaml"
    tenant.write_text(POLICY.format(word="cat", version=1, base="sticker").replace("id: live", "id: tenant")
                      + "extends: [company.yaml]\n", encoding="utf-8")  # fmt: skip
    with Guard.open(tenant, ledger=tmp_path / "ledger") as guard:
        assert refused(guard, "a dog")
        write(company, "robot", version=2)
        assert refused(guard, "a robot")


def test_an_unsigned_change_does_not_come_into_force(tmp_path: Path) -> None:
    """With a required key, only what that key signed is followed; a policy without signature opens no guard."""
    key = Ed25519PrivateKey.generate()
    path = write(tmp_path / "live.yaml", "dog")
    with pytest.raises(PolicySignatureError, match="no signature"):
        Guard.open(path, ledger=tmp_path / "ledger", policy_key=key.public_key())
    signature = path.with_name("live.yaml.sig")
    signature.write_text(sign_policy(load_policy_file(path), key).model_dump_json(), encoding="utf-8")
    with Guard.open(path, ledger=tmp_path / "ledger", policy_key=key.public_key()) as guard:
        write(path, "robot", version=2)
        assert refused(guard, "a dog")
        signature.write_text(sign_policy(load_policy_file(path), key).model_dump_json(), encoding="utf-8")
        assert refused(guard, "a robot")


def test_a_loaded_policy_cannot_be_asked_for_its_signature(tmp_path: Path) -> None:
    """Signatures lie beside files."""
    policy = load_policy_file(write(tmp_path / "live.yaml", "dog"))
    with pytest.raises(PolicyError, match="only a policy file can be signed"):
        Guard.open(policy, ledger=tmp_path / "ledger", policy_key=Ed25519PrivateKey.generate().public_key())
