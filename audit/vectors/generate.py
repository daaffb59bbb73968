"""Write the vectors anew: honest logs and proofs, and named forgeries of them, each with the problems it must show.

    python audit/vectors/generate.py [FOLDER]

Invariants: keys, times and ids are fixed, so the same bytes come out every time; every forgery is one small change to
the honest log, made by a forger who rebuilds whatever needs no key.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import rfc8785

from safegen.ledger import LedgerKeys, merkle
from safegen.ledger.export import EXPORT_FORMAT
from safegen.ledger.receipt import PROOF_HEADER

ORIGIN = "example.com/vectors"
TIME = "2026-05-04T03:02:01.000000Z"
HEX = "5a" * 32


def keys(seed: int) -> LedgerKeys:
    """Keys from fixed bytes: for vectors only."""
    counter = iter(range(seed, 256))
    return LedgerKeys.generate(ORIGIN, random=lambda count: bytes([next(counter)] * count))


OURS, OTHERS = keys(1), keys(101)


@dataclass
class Log:
    """A log as a forger sees it."""

    bodies: list[bytes]
    heads: list[tuple[int, str]] = field(default_factory=list)
    leaves: list[bytes] | None = None
    indices: list[int] | None = None
    published: str | None = None
    kept: list[str] = field(default_factory=list)

    def root(self, size: int) -> bytes:
        """Root over the first bodies as they are now."""
        tree = merkle.Tree()
        for body in self.bodies[:size]:
            tree.append(merkle.leaf_hash(body))
        return tree.root()

    def sign(self, *sizes: int, by: LedgerKeys = OURS) -> None:
        """Sign heads; the last one is published."""
        for size in sizes:
            self.heads.append((size, by.sign(size, self.root(size)).text))
        self.published = self.heads[-1][1]

    def lines(self) -> list[bytes]:
        """The log as an export."""
        leaves = self.leaves or [merkle.leaf_hash(body) for body in self.bodies]
        indices = self.indices or list(range(len(self.bodies)))
        entries = [
            b'{"index":%d,"leaf_hash":"%b","record":%b}' % (index, leaf.hex().encode(), body or b"null")
            for index, leaf, body in zip(indices, leaves, self.bodies, strict=True)
        ]
        tail: list[dict[str, object]] = [{"size": size, "checkpoint": text} for size, text in self.heads]
        tail += [{"published": self.published}] if self.published else []
        tail.append({"end": {"entries": len(entries), "checkpoints": len(self.heads)}})
        return [_compact({"format": EXPORT_FORMAT}), *entries, *map(_compact, tail)]


def request(name: str) -> list[bytes]:
    """The records of a request that went well."""
    head = {"schema_version": 2, "time": TIME, "request_id": name}
    score = {
        "reviewer": "nudenet", "reviewer_digest": None, "rule": "nudity", "label": "nudity", "score": 0.125,
        "threshold": 0.2, "found": False, "failure": None,
    }  # fmt: skip
    opening = {"adapter": "mascot-1", "concept": "mascot", "gamma": 0.75, "escalated": False,
               "phrase": "the mascot", "similarity": 0.875}  # fmt: skip
    image = {"index": 0, "png_sha256": HEX, "pixels_sha256": HEX, "outcome": "released", "signed_sha256": HEX}
    disagreement = {"kind": "miss", "reviewer": "nudenet", "score": 0.25, "rule": "nudity", "attempt": 0, "image": 0}
    parameters = {
        "n": 1, "width": 64, "height": 64, "steps": 20, "guidance": 7.5, "seed": str(2**64 - 1), "scheduler": None,
    }  # fmt: skip
    member = {
        "concept": "mascot", "adapter": "mascot-1", "adapter_sha256": HEX, "rule": "mascots", "strength": 1.0,
        "transport": "facilitated",
    }  # fmt: skip
    stages: list[dict[str, object]] = [
        {
            "stage": "requested", "prompt_commitment": HEX, "negative_prompt_commitment": None,
            "parameters": parameters, "policy": {"id": "default", "version": "3", "digest": f"sha256:{HEX}"},
            "base_model": {"id": "sticker", "digest": f"sha256:{HEX}"}, "software": {"safegen": "0.1.0", "ß": "é\n"},
            "audience": {"age_gate": "adult", "market": "de", "subject_commitment": HEX, "tenant": "acme"},
        },
        {"stage": "decided", "action": "erase", "rules": ["mascots"], "bundle": [member], "reviews": [],
         "refusal": None, "shadow": [{"rule": "trial", "action": "refuse", "concept": "mascot"}],
         "drawn_prompt_commitment": HEX, "decided_by": [{"kind": "rule", "name": "mascots"}]},
        {"stage": "drawn", "attempt": 0, "seeds": [7], "permeabilities": [opening], "image_sha256s": [HEX],
         "images": [0], "environment": {"device": "cpu"}},
        {"stage": "reviewed", "attempt": 0, "image": 0, "scores": [score], "verdict": "release"},
        {"stage": "closed", "outcome": "released", "images": [image], "attempts": 1,
         "disagreements": [disagreement], "error": None, "decided_by": [{"kind": "reviewer", "name": "nudenet"}]},
    ]  # fmt: skip
    return [rfc8785.dumps({**head, **stage}) for stage in stages]


def edit(body: bytes, **changes: object) -> bytes:
    """The record with other fields, canonical again."""
    return rfc8785.dumps({**json.loads(body), **changes})


def honest() -> Log:
    """Three requests, a recovered one and a policy change: 18 entries, heads of 0, 5, 10 and 18."""
    log = Log([])
    log.sign(0)
    for number in range(3):
        log.bodies += request(f"request-{number}")
        if number < 2:
            log.sign(len(log.bodies))
    log.bodies.append(request("lost")[0])
    common = {"schema_version": 2, "time": TIME}
    recovered = {**common, "stage": "recovered", "request_id": "lost", "reason": "no end was recorded"}
    change = {**common, "stage": "policy_changed", "policy_id": "default", "old_digest": None,
              "new_digest": f"sha256:{HEX}", "policy_version": "4",
              "decided_by": [{"kind": "file", "name": "default.yaml"}]}  # fmt: skip
    log.bodies += [rfc8785.dumps(recovered), rfc8785.dumps(change)]
    log.sign(18)
    return log


POLICY_REJECTED = rfc8785.dumps(
    {
        "schema_version": 2, "time": TIME, "stage": "policy_rejected", "in_force": f"sha256:{HEX}",
        "file": "default.yaml", "code": "policy.syntax",
        "problem": "line 3, column 5: <script>alert(1)</script>\x1b[31m",
    }
)  # fmt: skip

Problems = dict[str, int | None]
VECTORS: list[Callable[[Log], tuple[str, Problems]]] = []
"""Functions that change an honest log; each gives what it did, and a place of each problem that must show."""


def vector(change: Callable[[Log], tuple[str, Problems]]) -> Callable[[Log], object]:
    """Count a function among the vectors; its name is the vector's."""
    VECTORS.append(change)
    return change


def _keep_hashes(log: Log) -> None:
    log.leaves = [merkle.leaf_hash(body) for body in log.bodies]


@vector
def valid(log: Log) -> tuple[str, Problems]:
    return "an honest log of 18 entries, signed to its end", {}


@vector
def valid_empty(log: Log) -> tuple[str, Problems]:
    log.bodies, log.heads, log.published = [], log.heads[:1], log.heads[0][1]
    return "a ledger that nothing was written to", {}


@vector
def valid_unsigned_tail(log: Log) -> tuple[str, Problems]:
    log.bodies.append(request("late")[0])
    return "an entry after the last checkpoint, as a crash may leave it", {}


@vector
def valid_kept_checkpoint(log: Log) -> tuple[str, Problems]:
    log.kept = [log.heads[1][1]]
    return "an honest log beside an older checkpoint that somebody kept", {}


def first_version(body: bytes) -> bytes:
    """The record as version 1 wrote it: without what came later."""
    record = json.loads(body)
    for late in ("audience", "shadow", "drawn_prompt_commitment", "decided_by", "environment", "policy_version"):
        record.pop(late, None)
    if record["stage"] == "drawn":
        del record["images"]
    for part in (*record.get("permeabilities", ()), *record.get("images", ())):
        for late in ("phrase", "similarity", "signed_sha256"):
            part.pop(late, None)
    if "disagreements" in record:
        record["disagreements"] = [{"kind": "leak", "adapter": "mascot-1", "reviewer": "nudenet", "score": 0.25}]
    return rfc8785.dumps({**record, "schema_version": 1})


@vector
def valid_first_version(log: Log) -> tuple[str, Problems]:
    log.bodies = [first_version(body) for body in log.bodies]
    log.heads.clear()
    log.sign(0, 5, 10, 18)
    return "an honest log of records of version 1, one of version 2 after them", _then(log, request("newer"))


def _then(log: Log, bodies: list[bytes]) -> Problems:
    log.bodies += bodies
    log.sign(len(log.bodies))
    return {}


@vector
def valid_policy_rejected(log: Log) -> tuple[str, Problems]:
    return "a changed policy that could not be used", _then(log, [POLICY_REJECTED])


@vector
def valid_sealed_prompt(log: Log) -> tuple[str, Problems]:
    sealed = {"cipher": "chacha20-poly1305", "nonce": "00" * 12, "text": "c2VhbGVk"}
    log.bodies.append(edit(request("sealed")[0], sealed_prompt=sealed))
    log.sign(19)
    return "a request with a sealed prompt", {}


@vector
def sealed_prompt_null(log: Log) -> tuple[str, Problems]:
    return "a sealed prompt that is null where it should be left out", _unreadable(
        log, edit(request("sealed")[0], sealed_prompt=None)
    )


@vector
def bit_flip(log: Log) -> tuple[str, Problems]:
    _keep_hashes(log)
    log.bodies[7] = log.bodies[7].replace(b"0.75", b"0.74")
    return "a permeability is changed from 0.75 to 0.74", {"entry.altered": 7, "checkpoint.root": 10}


@vector
def bit_flip_rehashed(log: Log) -> tuple[str, Problems]:
    log.bodies[7] = log.bodies[7].replace(b"0.75", b"0.74")
    return "as bit_flip, and the stored hash is made to fit", {"checkpoint.root": 10}


@vector
def hash_flip(log: Log) -> tuple[str, Problems]:
    _keep_hashes(log)
    assert log.leaves is not None
    log.leaves[7] = bytes([log.leaves[7][0] ^ 1, *log.leaves[7][1:]])
    return "a bit of a stored hash is changed, the record is not", {"entry.altered": 7}


@vector
def drop(log: Log) -> tuple[str, Problems]:
    del log.bodies[15]
    log.indices = [*range(15), 16, 17]
    return "the `requested` of a lost request is taken out", {
        "entry.missing": 15, "request.order": 16, "checkpoint.ahead": 18,
    }  # fmt: skip


@vector
def drop_renumbered(log: Log) -> tuple[str, Problems]:
    del log.bodies[8]
    log.bodies.append(request("filler")[0])
    return "a review is taken out, what follows moves up, and the size is made good", {"checkpoint.root": 10}


@vector
def swap(log: Log) -> tuple[str, Problems]:
    log.bodies[4], log.bodies[17] = log.bodies[17], log.bodies[4]
    return "the end of a request and a policy change trade places, hashes with them", {"checkpoint.root": 5}


@vector
def swap_stages(log: Log) -> tuple[str, Problems]:
    log.bodies[6], log.bodies[7] = log.bodies[7], log.bodies[6]
    return "a drawing is put before its decision", {"request.order": 6, "checkpoint.root": 10}


@vector
def shuffled_lines(log: Log) -> tuple[str, Problems]:
    log.bodies[16], log.bodies[17] = log.bodies[17], log.bodies[16]
    log.indices = [*range(16), 17, 16]
    return "two entries stand in the wrong order, with their numbers", {
        "entry.missing": 16, "entry.surplus": 16, "checkpoint.ahead": 18,
    }  # fmt: skip


@vector
def truncated(log: Log) -> tuple[str, Problems]:
    del log.bodies[10:]
    return "the tail is cut off", {"checkpoint.ahead": 18}


@vector
def rolled_back(log: Log) -> tuple[str, Problems]:
    log.kept = [log.heads[-1][1]]
    del log.bodies[10:], log.heads[3:]
    log.published = log.heads[-1][1]
    return "the tail is cut off with its checkpoints; somebody kept a later one", {"checkpoint.ahead": 18}


@vector
def rolled_back_published(log: Log) -> tuple[str, Problems]:
    del log.bodies[10:], log.heads[3:]
    return "the tail is cut off with its stored checkpoints, the published one is left", {"checkpoint.ahead": 18}


@vector
def rolled_back_and_grown(log: Log) -> tuple[str, Problems]:
    log.kept = [log.heads[-1][1]]
    del log.bodies[10:], log.heads[3:]
    log.bodies += [*request("other-1"), *request("other-2")]
    log.sign(20)
    return "set back, and grown past the checkpoint that somebody kept", {"checkpoint.root": 18}


@vector
def resigned_with_another_key(log: Log) -> tuple[str, Problems]:
    log.bodies[7] = log.bodies[7].replace(b"0.75", b"0.74")
    log.heads.clear()
    log.sign(0, 5, 10, 18, by=OTHERS)
    return "rebuilt whole and signed again with a key of the same name", {"checkpoint.signature": 0}


@vector
def signature_flip(log: Log) -> tuple[str, Problems]:
    head, _, line = log.heads[2][1].rstrip("\n").rpartition(" ")
    raw = base64.b64decode(line)
    log.heads[2] = (10, f"{head} {base64.b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode()}\n")
    return "one bit of a signature is changed", {"checkpoint.signature": 10}


@vector
def size_edited(log: Log) -> tuple[str, Problems]:
    log.heads[2] = (9, log.heads[2][1].replace("\n10\n", "\n9\n"))
    return "the size in a signed checkpoint is edited", {"checkpoint.signature": 9}


@vector
def signature_moved(log: Log) -> tuple[str, Problems]:
    signature = log.heads[1][1].partition("\n\n")[2]
    log.heads[2] = (10, log.heads[2][1].partition("\n\n")[0] + "\n\n" + signature)
    return "the signature of one checkpoint stands under another", {"checkpoint.signature": 10}


@vector
def replayed_tail(log: Log) -> tuple[str, Problems]:
    log.bodies += log.bodies[10:15]
    return "the records of a request are appended a second time", {"request.order": 18}


@vector
def index_off_by_one(log: Log) -> tuple[str, Problems]:
    log.indices = list(range(1, 19))
    return "every entry bears the number of the next", {"entry.missing": 0}


@vector
def repeated_entry(log: Log) -> tuple[str, Problems]:
    log.bodies.insert(5, log.bodies[4])
    log.indices = [*range(5), 4, *range(5, 18)]
    return "an entry stands twice, with its number", {"entry.surplus": 4}


@vector
def two_heads_of_one_size(log: Log) -> tuple[str, Problems]:
    other = deepcopy(log)
    other.bodies[17] = edit(other.bodies[17], policy_id="another")
    other.sign(18)
    log.kept = [other.heads[-1][1]]
    return "the ledger's own key signed two heads of 18 entries", {"checkpoint.fork": 18, "checkpoint.root": 18}


@vector
def mislabelled_checkpoint(log: Log) -> tuple[str, Problems]:
    log.heads[2] = (9, log.heads[2][1])
    return "a checkpoint of 10 is stored as one of 9", {"checkpoint.mislabelled": 9}


@vector
def no_checkpoints(log: Log) -> tuple[str, Problems]:
    log.heads.clear()
    return "every stored checkpoint is taken out", {"checkpoint.missing": None}


@vector
def malformed_checkpoint(log: Log) -> tuple[str, Problems]:
    log.published = "nonsense"
    return "the published checkpoint is none", {"checkpoint.signature": None}


def _prune(log: Log, *gone: int, stop: int = 10, sign: bool = True) -> None:
    """Append a `pruned` record, sign it if wanted, and take bodies out."""
    record = {"schema_version": 2, "time": TIME, "stage": "pruned", "stop": stop, "reason": "older than a year",
              "decided_by": [{"kind": "person", "name": "auditor"}]}  # fmt: skip
    log.bodies.append(rfc8785.dumps(record))
    if sign:
        log.sign(19)
    _keep_hashes(log)
    for index in gone:
        log.bodies[index] = b""


@vector
def valid_pruned(log: Log) -> tuple[str, Problems]:
    _prune(log, *range(10))
    return "the records of two requests are pruned, and the ledger says so", {}


@vector
def erased(log: Log) -> tuple[str, Problems]:
    _keep_hashes(log)
    log.bodies[4] = b""
    return "a record is taken out and its hash left, as if it had been pruned", {"entry.erased": 4}


@vector
def erased_beyond_the_pruning(log: Log) -> tuple[str, Problems]:
    _prune(log, *range(11))
    return "one record more is gone than the `pruned` record says", {"entry.erased": 10, "request.order": 11}


@vector
def pruned_in_part(log: Log) -> tuple[str, Problems]:
    _prune(log, 5)
    return "only the first record of a request is gone", {"request.order": 6}


@vector
def pruning_unsigned(log: Log) -> tuple[str, Problems]:
    _prune(log, *range(10), sign=False)
    return "records are gone under a `pruned` record that nobody signed", {"entry.erased": 9}


@vector
def pruned_with_another_hash(log: Log) -> tuple[str, Problems]:
    _prune(log, *range(10))
    assert log.leaves is not None
    log.leaves[7] = hashlib.sha256(b"another").digest()
    return "the hash of a pruned record is replaced", {"checkpoint.root": 10, "entry.erased": 9}


def _unreadable(log: Log, body: bytes) -> Problems:
    log.bodies.append(body)
    log.sign(19)
    return {"entry.unreadable": 18}


@vector
def not_canonical(log: Log) -> tuple[str, Problems]:
    return "a record with a blank too many", _unreadable(log, log.bodies[17].replace(b":", b": ", 1))


@vector
def repeated_key(log: Log) -> tuple[str, Problems]:
    body = b'{"new_digest":"sha256:00",' + log.bodies[17][1:]
    return "a record that names a field twice", _unreadable(log, body)


@vector
def number_in_another_form(log: Log) -> tuple[str, Problems]:
    return "a number with a digit that changes nothing", _unreadable(
        log, log.bodies[7].replace(b'"gamma":0.75', b'"gamma":0.750')
    )


@vector
def number_with_a_point(log: Log) -> tuple[str, Problems]:
    return "a whole number written as 1.0", _unreadable(
        log, log.bodies[6].replace(b'"strength":1,', b'"strength":1.0,')
    )


@vector
def unknown_field(log: Log) -> tuple[str, Problems]:
    return "a record with a field that no record has", _unreadable(log, edit(log.bodies[17], note="x"))


@vector
def missing_field(log: Log) -> tuple[str, Problems]:
    short = {name: value for name, value in json.loads(log.bodies[17]).items() if name != "old_digest"}
    return "a record without a field that it must have", _unreadable(log, rfc8785.dumps(short))


@vector
def newer_version(log: Log) -> tuple[str, Problems]:
    return "a record of a version that is not known", _unreadable(log, edit(log.bodies[17], schema_version=3))


@vector
def true_for_the_version(log: Log) -> tuple[str, Problems]:
    body = first_version(log.bodies[17]).replace(b'"schema_version":1', b'"schema_version":true')
    return "a truth value where the version belongs", _unreadable(log, body)


@vector
def old_version_new_field(log: Log) -> tuple[str, Problems]:
    return "a record of version 1 with a field of version 2", _unreadable(log, edit(log.bodies[6], schema_version=1))


@vector
def old_version_new_part(log: Log) -> tuple[str, Problems]:
    body = edit(first_version(log.bodies[7]), permeabilities=json.loads(log.bodies[7])["permeabilities"])
    return "a record of version 1 with a field of version 2 deep inside", _unreadable(log, body)


@vector
def old_version_new_stage(log: Log) -> tuple[str, Problems]:
    return "a rejected policy in a record of version 1", _unreadable(log, edit(POLICY_REJECTED, schema_version=1))


@vector
def empty_where_left_out(log: Log) -> tuple[str, Problems]:
    return "an empty list where the field should be left out", _unreadable(log, edit(log.bodies[6], shadow=[]))


@vector
def leak_without_adapter(log: Log) -> tuple[str, Problems]:
    leak = {**json.loads(log.bodies[9])["disagreements"][0], "kind": "leak"}
    return "a leak that names no adapter", _unreadable(log, edit(log.bodies[9], disagreements=[leak]))


@vector
def unknown_decider(log: Log) -> tuple[str, Problems]:
    decided_by = [{"kind": "nobody", "name": "x"}]
    return "a decision by a kind of decider that there is none of", _unreadable(
        log, edit(log.bodies[6], decided_by=decided_by)
    )


@vector
def unknown_stage(log: Log) -> tuple[str, Problems]:
    return "a record of a stage that is not known", _unreadable(log, edit(log.bodies[17], stage="erased"))


@vector
def impossible_time(log: Log) -> tuple[str, Problems]:
    return "a record of the 30th of February", _unreadable(
        log, edit(log.bodies[17], time="2026-02-30T00:00:00.000000Z")
    )


@vector
def true_for_a_number(log: Log) -> tuple[str, Problems]:
    return "a truth value where a count belongs", _unreadable(log, edit(log.bodies[7], attempt=True))


@vector
def number_out_of_range(log: Log) -> tuple[str, Problems]:
    return "a count that JSON does not keep exactly", _unreadable(
        log, log.bodies[7].replace(b'"attempt":0', b'"attempt":9007199254740992')
    )


@vector
def score_and_failure(log: Log) -> tuple[str, Problems]:
    score = {**json.loads(log.bodies[8])["scores"][0], "failure": "timeout"}
    return "a review with a score and a failure", _unreadable(log, edit(log.bodies[8], scores=[score]))


@vector
def too_long(log: Log) -> tuple[str, Problems]:
    return "an entry of more bytes than an entry may have", _unreadable(
        log, edit(log.bodies[6], rules=["x" * 200] * 400)
    )


@vector
def opened_twice(log: Log) -> tuple[str, Problems]:
    log.bodies[15:15] = [request("twice")[0], request("twice")[0]]
    log.heads.pop()
    log.sign(20)
    return "a request that arrives twice", {"request.order": 16}


@vector
def released_undrawn(log: Log) -> tuple[str, Problems]:
    first, *_, last = request("undrawn")
    log.bodies += [first, last]
    log.sign(20)
    return "images are released that were never drawn", {"request.order": 19}


@vector
def drawn_after_refusal(log: Log) -> tuple[str, Problems]:
    first, second, third, *_ = request("refused")
    refusal = {"rule": "minors", "reason": "no", "category": "minors"}
    log.bodies += [first, edit(second, refusal=refusal), third]
    log.sign(21)
    return "an image is drawn after a refusal", {"request.order": 20}


@vector
def skipped_attempt(log: Log) -> tuple[str, Problems]:
    first, second, third, *_ = request("skipped")
    log.bodies += [first, second, edit(third, attempt=1)]
    log.sign(21)
    return "the first attempt of a request is left out", {"request.order": 20}


def proof_vectors(log: Log) -> list[dict[str, object]]:
    """Proofs of entry 7 of 18, honest and forged."""
    tree = merkle.Tree()
    for body in log.bodies:
        tree.append(merkle.leaf_hash(body))
    steps = merkle.inclusion_proof(tree.node, 7, 18)
    head, body = log.heads[-1][1], log.bodies[7]
    twisted = [bytes([steps[0][0] ^ 128, *steps[0][1:]]), *steps[1:]]
    inner = (b"\x01" + tree.node(0, 6) + tree.node(0, 7))[1:]

    def proof(index: int = 7, path: list[bytes] = steps, note: str = head, first: str = PROOF_HEADER) -> str:
        return "\n".join([first, f"index {index}", *(base64.b64encode(step).decode() for step in path), "", note])

    last = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    rooted = "\n".join([ORIGIN, "18", last, *head.split("\n")[3:]])
    cases: list[tuple[str, str | None, str, bytes]] = [
        ("valid", None, proof(), body),
        ("valid_extra", None, proof(first=f"{PROOF_HEADER}\nextra aGVsbG8="), body),
        ("index_one_less", "proof.path", proof(6), body),
        ("index_one_more", "proof.path", proof(8), body),
        ("index_beyond_the_size", "proof.path", proof(18), body),
        ("path_bit_flip", "proof.path", proof(path=twisted), body),
        ("path_swapped", "proof.path", proof(path=[steps[1], steps[0], *steps[2:]]), body),
        ("path_too_short", "proof.path", proof(path=steps[:-1]), body),
        ("path_too_long", "proof.path", proof(path=[*steps, steps[-1]]), body),
        ("path_empty", "proof.path", proof(path=[]), body),
        ("node_as_leaf", "proof.path", proof(3, steps[1:]), inner),
        ("another_record", "proof.path", proof(), log.bodies[6]),
        ("older_head", "proof.path", proof(note=log.heads[2][1]), body),
        ("size_doubled", "checkpoint.signature", proof(note=head.replace("\n18\n", "\n36\n")), body),
        ("root_replaced", "checkpoint.signature", proof(note=rooted), body),
        ("another_key", "checkpoint.signature", proof(note=OTHERS.sign(18, tree.root()).text), body),
        ("no_signature", "checkpoint.signature", proof(note=head.partition("\n\n")[0] + "\n"), body),
        ("no_index", "proof.malformed", proof().replace("index 7\n", ""), body),
        ("index_with_a_zero", "proof.malformed", proof().replace("index 7", "index 07"), body),
        ("another_header", "proof.malformed", proof(first="c2sp.org/tlog-proof@v2"), body),
        ("step_not_base64", "proof.malformed", proof().replace("index 7\n", "index 7\n!\n"), body),
        ("step_too_short", "proof.malformed", proof(path=[steps[0][:31], *steps[1:]]), body),
    ]  # fmt: skip
    return [
        {"name": name, "problem": problem, "proof": text, "record": base64.b64encode(record).decode()}
        for name, problem, text, record in cases
    ]


def write(folder: Path) -> None:
    """Write all vectors into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    index = []
    for change in VECTORS:
        log = honest()
        says, problems = change(log)
        (folder / f"{change.__name__}.jsonl").write_bytes(b"\n".join(log.lines()) + b"\n")
        index.append({"name": change.__name__, "says": says, "problems": problems, "kept": log.kept})
    whole = (folder / "valid.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "cut_export.jsonl").write_bytes(b"".join(whole[:-2]))
    index.append(
        {"name": "cut_export", "says": "the last lines are missing", "problems": {"export.cut": None}, "kept": []}
    )
    content = {"key": str(OURS.verifier_key), "logs": index, "proofs": proof_vectors(honest())}
    (folder / "vectors.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _compact(part: dict[str, object]) -> bytes:
    return json.dumps(part, separators=(",", ":")).encode()


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
