"""Statements of reasons for what was refused or withheld, in the shape of the EU's DSA Transparency Database.

Optional: whether a service must send such statements, and what they must say, is for its lawyers. What the ledger does
not know is not made up: the territory is stated by whoever exports, unless a request named its market.

Invariants: one statement for each request that ended refused or withheld; no prompt and no picture is in it.

Source: https://transparency.dsa.ec.europa.eu/page/api-documentation; Regulation (EU) 2022/2065, article 17
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from safegen.errors import LedgerError
from safegen.ledger.record import Closed, Decided, Record, Requested, Reviewed

COUNTRIES = frozenset(
    "AT BE BG CY CZ DE DK EE EL ES FI FR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK".split()  # noqa: SIM905
)
"""Of the European Economic Area, as the database writes them."""
_CATEGORIES = (
    ("minor|child", "STATEMENT_CATEGORY_PROTECTION_OF_MINORS"),
    ("nud|sexual|porn", "STATEMENT_CATEGORY_PORNOGRAPHY_OR_SEXUALIZED_CONTENT"),
    ("violence|blood|gore|weapon|firearm|blade", "STATEMENT_CATEGORY_VIOLENCE"),
    ("hate", "STATEMENT_CATEGORY_ILLEGAL_OR_HARMFUL_SPEECH"),
    ("self-harm|suicide", "STATEMENT_CATEGORY_SELF_HARM"),
    (
        "artist|style|character|estate|photograph|memorised|brand|logo",
        "STATEMENT_CATEGORY_INTELLECTUAL_PROPERTY_INFRINGEMENTS",
    ),
)  # fmt: skip
_OTHER = "STATEMENT_CATEGORY_SCOPE_OF_PLATFORM_SERVICE"


def statements(records: Iterable[Record], territory: Collection[str]) -> Iterator[dict[str, Any]]:
    """The statements that the records of a ledger give, in the order in which their requests ended.

    Args:
        records: in the order of the ledger.
        territory: country codes in which the decisions hold, for requests that named no market among `COUNTRIES`.

    Raises:
        LedgerError: if a code is no country of the European Economic Area.
    """
    unknown = set(territory) - COUNTRIES
    if unknown or not territory:
        named = ", ".join(sorted(unknown)) or "none"
        raise LedgerError(f"not a territory of the database: {named}", hint=f"codes: {' '.join(sorted(COUNTRIES))}")
    return _statements(records, sorted(territory))


def _statements(records: Iterable[Record], territory: list[str]) -> Iterator[dict[str, Any]]:
    open_requests: dict[str, list[Record]] = {}
    for record in records:
        name = getattr(record, "request_id", None)
        if name is None:
            continue
        if record.stage not in {"closed", "recovered"}:
            open_requests.setdefault(name, []).append(record)
            continue
        earlier = open_requests.pop(name, [])
        if isinstance(record, Closed) and record.outcome in {"refused", "withheld"}:
            requested = next((one for one in earlier if isinstance(one, Requested)), None)
            decided = next((one for one in earlier if isinstance(one, Decided)), None)
            if requested is not None and decided is not None:
                reviews = [one for one in earlier if isinstance(one, Reviewed)]
                yield _statement(requested, decided, reviews, record, territory)


def _statement(
    requested: Requested, decided: Decided, reviews: list[Reviewed], closed: Closed, territory: list[str]
) -> dict[str, Any]:
    refusal, day = decided.refusal, closed.time[:10]
    rules, facts = _refused(decided) if refusal else _withheld(reviews)
    ground = f"policy {requested.policy.id}, version {requested.policy.version}: {', '.join(rules) or 'review'}"
    market = requested.audience.market.upper() if requested.audience and requested.audience.market else ""
    visibility = "DECISION_VISIBILITY_OTHER" if refusal else "DECISION_VISIBILITY_CONTENT_DISABLED"
    statement = {
        "puid": requested.request_id,
        "decision_visibility": [visibility],
        "decision_ground": "DECISION_GROUND_INCOMPATIBLE_CONTENT",
        "incompatible_content_ground": ground,
        "incompatible_content_explanation": refusal.reason if refusal else "a review found what the policy rules out",
        "incompatible_content_illegal": "No",
        "content_type": ["CONTENT_TYPE_TEXT" if refusal else "CONTENT_TYPE_SYNTHETIC_MEDIA"],
        "category": category_of(refusal.category if refusal else " ".join(rules)),
        "territorial_scope": [market] if market in COUNTRIES else territory,
        "content_date": requested.time[:10],
        "application_date": day,
        "decision_facts": facts,
        "source_type": "SOURCE_VOLUNTARY",
        "automated_detection": "Yes",
        "automated_decision": "AUTOMATED_DECISION_FULLY",
    }
    return {**statement, "decision_visibility_other": "no image was generated"} if refusal else statement


def _refused(decided: Decided) -> tuple[list[str], str]:
    rule = decided.refusal.rule if decided.refusal else ""
    return [rule], f"The prompt matched the rule {rule}; no image was generated."


def _withheld(reviews: list[Reviewed]) -> tuple[list[str], str]:
    against = [score for one in reviews for score in one.scores if score.found or score.failure is not None]
    rules = list(dict.fromkeys(score.rule for score in against))
    said = [
        f"{score.reviewer} failed" if score.score is None
        else f"{score.reviewer} scored {score.label} {score.score:.3f}, threshold {score.threshold:.3f}"
        for score in against
    ]  # fmt: skip
    return rules, f"The generated image was withheld: {'; '.join(dict.fromkeys(said))[:4000]}."


def category_of(name: str) -> str:
    """The database's category for a category of a policy, or for the names of rules."""
    return next((found for words, found in _CATEGORIES if re.search(words, name.lower())), _OTHER)
