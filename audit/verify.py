"""Verify a safegen ledger, an export of one, or a proof, with nothing but Python's standard library.

A second verifier, written from the format in docs/ledger.md alone: it shares no code with safegen, so that an error in
one of them shows as a disagreement. If `cryptography` is installed, its Ed25519 is used; else the one below (RFC 8032).

    python verify.py LEDGER --key PUB [--kept CHECKPOINT ...]     a folder with ledger.db, or an export (.jsonl)
    python verify.py FILE.tlog-proof --key PUB --record RECORD    one record against a proof

Writes one JSON object. Exit codes: 0 fine, 1 cannot be read, 2 usage, 4 tampering found.
Sources: RFC 9162 (tree), RFC 8785 (JSON), RFC 8032 (Ed25519), c2sp.org/signed-note, /tlog-checkpoint, /tlog-proof.
"""

import argparse
import base64
import hashlib
import json
import re
import sqlite3
import sys
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path

ENTRY_LIMIT = 65_535
LARGEST_INTEGER = 2**53 - 1
EXPORT_FORMAT = "safegen-ledger-export/1"
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
LARGEST_INDEX = 2**62


class Malformed(Exception):
    """What was read is not what it should be; the message says why."""


# --- Ed25519 ---------------------------------------------------------------------------------------------------------

P, Q = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def _add(a, b):
    a1, b1 = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = b1 - a1, d - c, d + c, b1 + a1
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point, scalar = _add(point, point), scalar >> 1
    return result


def _point(encoded):
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if (x & 1) != sign else x
    return x, y, 1, x * y % P


BASE = _point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def pure_ed25519(public, message, signature):
    """Whether `signature` (64 bytes) over `message` is by the key `public` (32 bytes): RFC 8032, section 5.1.7."""
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r, s = _point(public), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= Q:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % Q
    left, right = _times(s, BASE), _add(r, _times(h, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def ed25519(public, message, signature):
    """As `pure_ed25519`, by the primitive of `cryptography` where that is installed."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return pure_ed25519(public, message, signature)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# --- keys, checkpoints, tree -----------------------------------------------------------------------------------------


def unbase64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Malformed("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise Malformed("not the one base64 form of its bytes")
    return data


def parse_key(text):
    """`name+keyid+base64(0x01 || key)` as (name, key id, key)."""
    try:
        name, key_id, encoded = text.strip().split("+", 2)
    except ValueError as error:
        raise Malformed("a verifier key reads name+keyid+base64") from error
    raw = unbase64(encoded)
    expected = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if len(raw) != 33 or raw[0] != 1 or not name or expected.hex() != key_id:
        raise Malformed("not an Ed25519 verifier key with its own id")
    return name, expected, raw[1:]


def read_checkpoint(text, key):
    """(size, root) of a checkpoint that `key` signed."""
    name, key_id, public = key
    if re.search(r"[\x00-\x09\x0b-\x1f]", text):
        raise Malformed("control characters in a checkpoint")
    body, gap, tail = text.rpartition("\n\n")
    lines, signatures = (body + "\n").split("\n")[:-1], tail.split("\n")
    if not gap or signatures.pop() != "" or not 1 <= len(signatures) <= 64 or len(lines) < 3 or not all(lines):
        raise Malformed("a checkpoint needs origin, size, root, an empty line and signatures")
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
        raise Malformed("the size of a checkpoint is not a number")
    root = unbase64(lines[2])
    if len(root) != 32 or lines[0] != name:
        raise Malformed("another origin, or no root")
    ours = []
    for line in signatures:
        match = re.fullmatch("\u2014 ([^ +]+) ([^ ]+)", line)
        if not match or len(unbase64(match[2])) <= 4:
            raise Malformed("a signature line is not one")
        if match[1] == name and unbase64(match[2])[:4] == key_id:
            ours.append(unbase64(match[2])[4:])
    if not ours or not all(ed25519(public, (body + "\n").encode(), signature) for signature in ours):
        raise Malformed("not signed by the key")
    return int(lines[1]), root


def leaf_hash(body):
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The complete subtrees at the right edge of a growing tree: [(level, hash)], largest first."""

    def __init__(self):
        self.size, self.edge = 0, []

    def append(self, leaf):
        """Take a leaf hash; gives the subtrees above the leaf that it completes, as (level, hash)."""
        completed, level = [], 0
        while self.edge and self.edge[-1][0] == level:
            leaf, level = node_hash(self.edge.pop()[1], leaf), level + 1
            completed.append((level, leaf))
        self.edge.append((level, leaf))
        self.size += 1
        return completed

    def root(self):
        if not self.edge:
            return hashlib.sha256(b"").digest()
        folded = self.edge[-1][1]
        for _, left in reversed(self.edge[:-1]):
            folded = node_hash(left, folded)
        return folded


def root_from_path(leaf, index, size, path):
    """The root that an inclusion path leads to (RFC 9162, section 2.1.3.2), or None if it does not fit."""
    if not 0 <= index < size:
        return None
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if len(path) != inner + border or any(len(step) != 32 for step in path):
        return None
    for level, step in enumerate(path):
        left_of = level >= inner or index >> level & 1
        leaf = node_hash(step, leaf) if left_of else node_hash(leaf, step)
    return leaf


# --- records ---------------------------------------------------------------------------------------------------------


def number_text(value):
    """A number as ECMAScript writes it (RFC 8785, section 3.2.2.3)."""
    value = float(value)
    if value == 0:
        return "0"
    _, digits, exponent = Decimal(repr(abs(value))).normalize().as_tuple()
    text, point = "".join(map(str, digits)), len(digits) + exponent
    if len(text) <= point <= 21:
        text += "0" * (point - len(text))
    elif 0 < point <= 21:
        text = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + text
    else:
        text = text[0] + ("." + text[1:] if text[1:] else "") + f"e{point - 1:+d}"
    return "-" + text if value < 0 else text


def canonical(value):
    """The canonical JSON text of a value (RFC 8785)."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{canonical(name)}:{canonical(value[name])}" for name in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number_text(value)
    return json.dumps(value, ensure_ascii=False)


def _no_constant(text):
    raise Malformed(f"{text} is not JSON")


def is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


def count(value):
    return is_integer(value) and 0 <= value <= LARGEST_INTEGER


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def boolean(value):
    return isinstance(value, bool)


def text(low, high):
    return lambda value: isinstance(value, str) and low <= len(value) <= high


def pattern(expression):
    return lambda value: isinstance(value, str) and re.fullmatch(expression, value) is not None


def one_of(*values):
    return lambda value: isinstance(value, str) and value in values


def maybe(check):
    return lambda value: value is None or check(value)


def many(check):
    return lambda value: isinstance(value, list) and all(map(check, value))


def closed(optional=(), **fields):
    """Exactly these fields; the `optional` ones are left out where they have nothing to say."""
    needed = fields.keys() - set(optional)
    return lambda value: (
        isinstance(value, dict)
        and needed <= value.keys() <= fields.keys()
        and all(fields[name](value[name]) for name in value)
    )


def some(check):
    """A list that is left out rather than empty."""
    return lambda value: isinstance(value, list) and value != [] and all(map(check, value))


def names_to_names(value):
    return isinstance(value, dict) and all(name(key) and name(value[key]) for key in value)


def seed(value):
    if isinstance(value, str):
        return re.fullmatch(r"[1-9][0-9]{15,19}", value) is not None and LARGEST_INTEGER < int(value) < 2**64
    return count(value)


def moment(value):
    if not pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")(value):
        return False
    try:
        return bool(datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ"))  # noqa: DTZ007
    except ValueError:
        return False


name, sentence = text(1, 200), text(0, 2000)
hex256, digest = pattern("[0-9a-f]{64}"), pattern("sha256:[0-9a-f]{64}")
score_fields = closed(
    reviewer=name, reviewer_digest=maybe(digest), rule=name, label=name, score=maybe(number), threshold=number,
    found=boolean, failure=maybe(sentence),
)  # fmt: skip


def score(value):
    return score_fields(value) and (value["score"] is None) != (value["failure"] is None)


parameters = closed(
    n=count, width=count, height=count, steps=count, guidance=number, seed=maybe(seed), scheduler=maybe(name)
)
image = closed(
    {"signed_sha256"}, index=count, png_sha256=maybe(hex256), pixels_sha256=hex256,
    outcome=one_of("released", "withheld"), signed_sha256=hex256,
)  # fmt: skip
disagreement_fields = closed(
    {"adapter", "rule", "attempt", "image"}, kind=one_of("leak", "miss", "false_trigger"), adapter=name, reviewer=name,
    score=number, rule=name, attempt=count, image=count,
)  # fmt: skip


def disagreement(value):
    return disagreement_fields(value) and (value["kind"] == "miss" or "adapter" in value)


audience = closed(
    {"tenant", "market", "subject_commitment"}, tenant=name, market=name, age_gate=name, subject_commitment=hex256
)
deciders = some(
    closed(kind=one_of("rule", "policy", "reviewer", "key", "file", "system", "person"), name=name)
)  # fmt: skip
sealed = closed(
    cipher=one_of("chacha20-poly1305"),
    nonce=pattern("[0-9a-f]{24}"),
    text=lambda value: pattern("[A-Za-z0-9+/]+={0,2}")(value) and len(value) <= 22_000,
)
OUTCOMES = ("released", "refused", "withheld", "error", "interrupted")
VERDICTS = ("release", "escalate", "reseed", "withhold")
STAGES = {
    "requested": {
        "prompt_commitment": hex256, "negative_prompt_commitment": maybe(hex256), "parameters": parameters,
        "policy": closed(id=name, version=name, digest=digest), "base_model": closed(id=name, digest=digest),
        "software": names_to_names, "sealed_prompt": sealed, "sealed_negative_prompt": sealed, "audience": audience,
    },
    "decided": {
        "action": name, "rules": many(name), "refusal": maybe(closed(rule=name, reason=sentence, category=name)),
        "bundle": many(closed(
            concept=name, adapter=name, adapter_sha256=hex256, rule=name, strength=number, transport=name
        )),
        "reviews": many(closed(rule=name, reviewer=name, threshold=number, on_failure=name, ladder=many(name))),
        "shadow": some(closed({"concept"}, rule=name, action=name, concept=name)), "drawn_prompt_commitment": hex256,
        "decided_by": deciders,
    },
    "drawn": {
        "attempt": count, "seeds": many(seed), "image_sha256s": many(hex256),
        "permeabilities": many(closed(
            {"phrase", "similarity"}, adapter=name, concept=name, gamma=number, escalated=boolean, phrase=name,
            similarity=number,
        )),
        "images": some(count), "environment": names_to_names,
    },
    "reviewed": {"attempt": count, "image": count, "scores": many(score), "verdict": one_of(*VERDICTS)},
    "closed": {
        "outcome": one_of(*OUTCOMES), "images": many(image), "attempts": count,
        "disagreements": many(disagreement), "error": maybe(closed(code=name, message=sentence)),
        "decided_by": deciders,
    },
    "recovered": {"reason": sentence},
    "pruned": {"stop": count, "reason": sentence, "decided_by": deciders},
    "policy_changed": {
        "policy_id": name, "old_digest": maybe(digest), "new_digest": digest, "policy_version": name,
        "decided_by": deciders,
    },
    "policy_rejected": {"in_force": digest, "file": name, "code": name, "problem": sentence},
}  # fmt: skip
ADDED = {
    "requested": {"audience"}, "decided": {"shadow", "drawn_prompt_commitment", "decided_by"},
    "drawn": {"images", "environment"}, "closed": {"decided_by"}, "policy_changed": {"policy_version", "decided_by"},
    "pruned": {"decided_by"},
}  # fmt: skip
OPTIONAL = {"sealed_prompt", "sealed_negative_prompt"}
OF_THE_LEDGER = {"policy_changed", "policy_rejected", "pruned"}


def of_version_1(record):
    """Whether a record says only what version 1 had words for."""
    parts = [
        *record.get("permeabilities", ()),
        *(record.get("images", ()) if record["stage"] == "closed" else ()),
        *record.get("disagreements", ()),
    ]
    newer = {"phrase", "similarity", "signed_sha256", "rule", "attempt", "image"}
    return (
        record["stage"] != "policy_rejected"
        and not record.keys() & ADDED.get(record["stage"], set())
        and not any(part.keys() & newer or part.get("kind") == "miss" for part in parts)
    )


request_id = pattern("[A-Za-z0-9._-]{1,64}")


def read_record(body):
    """The record in canonical bytes."""
    try:
        record = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
        same = canonical(record).encode("utf-8") == body
    except (ValueError, OverflowError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from error
    if not same or len(body) >= ENTRY_LIMIT or not isinstance(record, dict):
        raise Malformed("not a canonical record of allowed length")
    stage = record.get("stage")
    if not isinstance(stage, str) or stage not in STAGES or not is_integer(record.get("schema_version")):
        raise Malformed("an unknown stage or version")
    common = {"stage": one_of(stage), "schema_version": lambda version: version in {1, 2}, "time": moment}
    own = {} if stage in OF_THE_LEDGER else {"request_id": request_id}
    if not closed(OPTIONAL | ADDED.get(stage, set()), **common, **own, **STAGES[stage])(record):
        raise Malformed(f"the fields are not those of `{stage}`")
    if record["schema_version"] == 1 and not of_version_1(record):
        raise Malformed("a record of version 1 that says what only version 2 can")
    return record


class Request:
    """What is known of one request after some of its records; `problem` is the rule that a record breaks."""

    def __init__(self):
        self.seen, self.refused, self.attempts = set(), False, 0

    @property
    def ended(self):
        return bool(self.seen & {"closed", "recovered"})

    def problem(self, record):
        stage, seen = record["stage"], self.seen
        before = {"decided": "requested", "drawn": "decided", "reviewed": "drawn"}.get(stage, "requested")
        outcome = record.get("outcome") if stage == "closed" else None
        rules = {
            "follows the end": self.ended,
            "comes before `requested`": stage != "requested" and "requested" not in seen,
            "appears twice": stage in {"requested", "decided"} and stage in seen,
            f"comes before `{before}`": stage != "requested" and before not in seen,
            "follows a refusal": stage == "drawn" and self.refused,
            "is not the attempt that was due": stage == "drawn" and record.get("attempt") != self.attempts,
            "is of an attempt that was not drawn": stage == "reviewed" and record.get("attempt", 0) >= self.attempts,
            "releases what was not drawn": outcome == "released" and "drawn" not in seen,
            "refuses without a refusal": outcome == "refused" and not self.refused,
            "contradicts the refusal": self.refused and outcome in {"released", "withheld"},
        }
        return next((f"`{stage}` {rule}" for rule, broken in rules.items() if broken), None)

    def take(self, record):
        self.seen.add(record["stage"])
        self.refused |= record["stage"] == "decided" and record["refusal"] is not None
        if record["stage"] == "drawn":
            self.attempts = max(self.attempts, record["attempt"] + 1)


# --- where a log comes from ------------------------------------------------------------------------------------------


def folder_lines(folder):
    """A ledger's folder as a stream of parts: entries with the tree nodes stored for them, then checkpoints."""
    with closing(sqlite3.connect(f"file:{(folder / 'ledger.db').absolute().as_posix()}?mode=ro", uri=True)) as database:
        database.text_factory = lambda raw: raw.decode("utf-8", "replace")
        database.execute("BEGIN")
        yield from _stored_entries(database)
        for size, text in database.execute("SELECT size, CAST(text AS TEXT) FROM checkpoints ORDER BY size"):
            yield "checkpoint", size, text or ""
    published = folder / "checkpoint"
    if published.exists():
        yield "kept", None, published.read_text("utf-8", "replace")


def _stored_entries(database):
    nodes = database.execute("SELECT entry, level, CAST(hash AS BLOB) FROM nodes ORDER BY entry, level")
    node, last = nodes.fetchone(), -1
    columns = '"index", CAST(body AS BLOB), CAST(leaf_hash AS BLOB), request_id, stage'
    query = f'SELECT {columns} FROM entries ORDER BY "index"'  # noqa: S608
    for index, body, leaf, *labels in database.execute(query):
        if not 0 <= index < LARGEST_INDEX:
            yield "problem", "entry.surplus", "an entry has a number that no entry can have"
            continue
        above = {}
        while node is not None and node[0] <= index:
            if node[0] == index:
                above[node[1]] = node[2]
            else:
                yield "problem", "node.surplus", "a tree node ends where no entry is"
            node = nodes.fetchone()
        yield "entry", index, (body or b"", leaf or b"", tuple(labels), above)
        last = index
    if node is not None and node[0] > last:
        yield "problem", "node.surplus", "a tree node ends where no entry is"


def export_lines(path):
    """An exported ledger as the same stream; the record is the last member of its line, byte for byte as signed."""
    with path.open("rb") as file:
        if json.loads(file.readline()).get("format") != EXPORT_FORMAT:
            raise Malformed(f"not an export of format {EXPORT_FORMAT}")
        ended = False
        for line in file:
            match = re.fullmatch(rb'\{"index":([0-9]{1,18}),"leaf_hash":"([0-9a-f]{64})","record":(.*)\}\n', line)
            if match:
                body = b"" if match[3] == b"null" else match[3]
                yield "entry", int(match[1]), (body, bytes.fromhex(match[2].decode()), None, None)
                continue
            part = json.loads(line)
            if part.keys() == {"size", "checkpoint"}:
                yield "checkpoint", part["size"], part["checkpoint"]
            elif part.keys() == {"published"}:
                yield "kept", None, part["published"]
            else:
                ended = part.keys() == {"end"}
                if not ended:
                    raise Malformed("a line that no export has")
        if not ended:
            yield "problem", "export.cut", "the export does not end as one ends"


# --- the verification ------------------------------------------------------------------------------------------------


class Verification:
    """One pass over a log, and what contradicts."""

    def __init__(self, key):
        self.key, self.tree, self.requests, self.problems = key, Frontier(), {}, []
        self.bodiless, self.prunings = [], []
        self.heads, self.stored, self.roots = [], 0, {0: Frontier().root()}

    def report(self, name, message, index=None):
        self.problems.append({"name": name, "message": message, "index": index})

    def run(self, lines, kept, wanted):
        """`wanted`: the sizes whose roots will be asked for."""
        due = 0
        for kind, place, content in lines:
            if kind == "entry":
                if place > due:
                    self.report("entry.missing", f"entries {due} to {place - 1} are missing", due)
                if place < due:
                    self.report("entry.surplus", "an entry stands after a later one", place)
                    continue
                due = place + 1
                self.entry(place, *content)
                if self.tree.size in wanted:
                    self.roots[self.tree.size] = self.tree.root()
            elif kind == "problem":
                self.report(place, content)
            else:
                self.stored += kind == "checkpoint"
                self.head(content, place)
        for text in kept:
            self.head(text)
        if not self.stored:
            self.report("checkpoint.missing", "every ledger begins with a checkpoint")
        self.check_heads()
        self.check_pruned()

    def entry(self, index, body, leaf, labels, above):
        computed = leaf_hash(body) if body else leaf
        if computed != leaf or len(leaf) != 32:
            self.report("entry.altered", "the record does not have its hash", index)
        completed = self.tree.append(computed)
        if above is not None:
            for level, value in completed:
                stored = above.pop(level, None)
                if stored != value:
                    kind = "missing" if stored is None else "altered"
                    self.report(f"node.{kind}", f"at level {level}", index)
            for level in above:
                self.report("node.surplus", f"at level {level}", index)
        if not body:
            self.bodiless.append(index)
            return
        try:
            record = read_record(body)
        except Malformed as error:
            self.report("entry.unreadable", str(error), index)
            return
        if labels not in (None, (record.get("request_id"), record["stage"])):
            self.report("entry.mislabelled", "the columns contradict the record", index)
        if record["stage"] == "pruned":
            self.prunings.append((index, record["stop"]))
        if record["stage"] not in OF_THE_LEDGER:
            self.count(record, index)

    def count(self, record, index):
        state = self.requests.setdefault(record["request_id"], Request())
        problem = state.problem(record)
        if problem:
            self.report("request.order", f"request {record['request_id']}: {problem}", index)
        state.take(record)

    def head(self, text, stored_as=None):
        try:
            size, root = read_checkpoint(text, self.key)
        except Malformed as error:
            self.report("checkpoint.signature", str(error), stored_as)
            return
        if stored_as not in (None, size):
            self.report("checkpoint.mislabelled", f"a checkpoint of {size} is stored as {stored_as}", stored_as)
        self.heads.append((size, root))

    def check_heads(self):
        first = {}
        for size, root in self.heads:
            if first.setdefault(size, root) != root:
                self.report("checkpoint.fork", f"two heads of {size} entries were signed", size)
            if size > self.tree.size:
                self.report("checkpoint.ahead", f"{size} signed, {self.tree.size} here", size)
            elif self.roots.get(size) != root:
                self.report("checkpoint.root", f"the first {size} entries are not those that were signed", size)

    def signed_size(self):
        return max((size for size, root in self.heads if self.roots.get(size) == root), default=0)

    def check_pruned(self):
        """Only what a signed `pruned` record speaks of may be without its record."""
        signed = self.signed_size()
        allowed = max([0, *(min(stop, index) for index, stop in self.prunings if index < signed)])
        if self.bodiless and self.bodiless[-1] >= allowed:
            self.report(
                "entry.erased", "the record is gone, and no signed `pruned` record allows it", self.bodiless[-1]
            )

    def result(self):
        signed = self.signed_size()
        return {
            "ok": not self.problems,
            "size": self.tree.size,
            "root": self.tree.root().hex(),
            "signed_size": signed,
            "pruned": len(self.bodiless),
            "unsigned_tail": self.tree.size - signed,
            "open_requests": sorted(name for name, state in self.requests.items() if not state.ended),
            "problems": self.problems,
        }


def claimed_sizes(texts):
    """Sizes that checkpoints claim, believed in nothing yet."""
    found = (re.match(r"[^\n]*\n([0-9]{1,19})\n", text) for text in texts)
    return {int(match[1]) for match in found if match}


def verify_log(path, key_text, kept=()):
    """Verify a ledger's folder or an export; gives what main() prints."""
    source = folder_lines if path.is_dir() else export_lines
    heads = [content for kind, _, content in source(path) if kind in {"checkpoint", "kept"}]
    verification = Verification(parse_key(key_text))
    verification.run(source(path), kept, claimed_sizes([*heads, *kept]))
    return verification.result()


def verify_proof(text, record, key_text):
    """Verify a `.tlog-proof` about a record (canonical bytes); gives what main() prints."""
    try:
        index, path, note = split_proof(text)
    except Malformed as error:
        return {"ok": False, "problems": [{"name": "proof.malformed", "message": str(error), "index": None}]}
    try:
        size, root = read_checkpoint(note, parse_key(key_text))
    except Malformed as error:
        return {"ok": False, "problems": [{"name": "checkpoint.signature", "message": str(error), "index": None}]}
    if root_from_path(leaf_hash(record), index, size, path) != root:
        problem = {"name": "proof.path", "message": "the path does not lead to the signed root", "index": index}
        return {"ok": False, "problems": [problem]}
    return {"ok": True, "index": index, "size": size, "problems": []}


def split_proof(text):
    """(index, path, checkpoint text) of a `.tlog-proof`, believed in nothing."""
    head, gap, note = text.partition("\n\n")
    header, *lines = head.split("\n")
    if header != PROOF_HEADER or not gap or not note:
        raise Malformed(f"a proof begins with {PROOF_HEADER} and ends with a checkpoint")
    if lines and lines[0].startswith("extra "):
        unbase64(lines.pop(0).removeprefix("extra "))
    match = re.fullmatch(r"index (0|[1-9][0-9]{0,18})", lines[0]) if lines else None
    if match is None:
        raise Malformed("the index is missing")
    path = [unbase64(line) for line in lines[1:]]
    if any(len(step) != 32 for step in path) or len(path) > 63:
        raise Malformed("a step of the path is not a hash, or there are too many")
    return int(match[1]), path, note


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Verify a ledger, an export of one, or a proof.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--key", required=True, help="the public key that you trust: its text or a file")
    parser.add_argument("--kept", type=Path, nargs="*", default=[], help="checkpoints that you kept")
    parser.add_argument("--record", type=Path, help="the record that a proof is about, as JSON")
    options = parser.parse_args(arguments)
    try:
        key = Path(options.key).read_text("utf-8") if Path(options.key).is_file() else options.key
        if options.record:
            body = canonical(json.loads(options.record.read_bytes())).encode()
            result = verify_proof(options.path.read_text("utf-8"), body, key)
        else:
            result = verify_log(options.path, key, [kept.read_text("utf-8") for kept in options.kept])
    except (OSError, ValueError, sqlite3.Error, Malformed) as error:
        print(json.dumps({"ok": False, "error": str(error)}))
        return 1
    print(json.dumps(result, indent=2))
    return 0 if result["ok"] else 4


if __name__ == "__main__":
    sys.exit(main())
