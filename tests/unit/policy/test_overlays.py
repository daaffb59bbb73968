"""Policies that extend others."""

from __future__ import annotations

import pytest

from safegen.errors import PolicyError, PolicySemanticError, PolicySyntaxError
from safegen.policy import Policy, PromptRequest, decide, load_policy

HEAD = "apiVersion: safegen/v1\nkind: Policy\nversion: 1\n"
COMPANY = (
    HEAD
    + """id: company
base: sticker
concepts:
  - {name: gun, category: weapon, phrases: [gun]}
rules:
  - {id: no-guns, match: {categories: [weapon]}, action: refuse, reason: No.}
"""
)
MARKET = (
    HEAD
    + """id: market
extends: [../company.yaml]
concepts:
  - {name: gun, category: weapon, phrases: [Pistole]}
"""
)
TENANT = (
    HEAD
    + """id: tenant
extends: [market/de.yaml]
rules:
  - {id: no-knives, match: {phrases: [knife]}, action: refuse, reason: No.}
"""
)
FILES = {"company.yaml": COMPANY, "market/de.yaml": MARKET, "tenant.yaml": TENANT}


def load(files: dict[str, str], start: str = "tenant.yaml") -> Policy:
    def read(path: str) -> str:
        try:
            return files[path]
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory") from None

    return load_policy(files[start], source=start, read=read)


def refused(policy: Policy, prompt: str) -> bool:
    return decide(policy, PromptRequest(prompt=prompt)).action == "refuse"


def test_three_levels_add_up() -> None:
    """A tenant's policy holds what company, market and tenant say, under the tenant's id and the company's base."""
    policy = load(FILES)
    assert (policy.id, policy.base, [rule.id for rule in policy.rules]) == (
        "tenant",
        "sticker",
        ["no-guns", "no-knives"],
    )
    assert [refused(policy, word) for word in ("gun", "Pistole", "knife", "spoon")] == [True, True, True, False]
    assert not refused(load(FILES, "company.yaml"), "Pistole")


def test_the_id_of_a_rule_is_taken_for_good() -> None:
    """An overlay cannot put another rule in the place of one that it extends."""
    with pytest.raises(PolicySemanticError, match=r"tenant.yaml:7:10: `no-guns` is already taken"):
        load({**FILES, "tenant.yaml": TENANT.replace("no-knives", "no-guns")})


def test_a_circle_is_shown() -> None:
    """Policies that extend one another in a circle are an error that names the circle."""
    with pytest.raises(PolicySemanticError, match=r"circle: tenant.yaml -> market/de.yaml -> tenant.yaml"):
        load({**FILES, "market/de.yaml": MARKET.replace("company", "tenant")})


def test_a_missing_file_is_shown_where_it_is_named() -> None:
    """A file that is not there is reported at the line that extends it."""
    with pytest.raises(PolicyError, match=r"market/de.yaml:5:11: cannot read `../nowhere.yaml`"):
        load({**FILES, "market/de.yaml": MARKET.replace("company", "nowhere")})


def test_problems_of_all_files_come_at_once() -> None:
    """A mistake in each of three files gives three diagnostics, each in its own file."""
    broken = {name: text.replace("version: 1", "version: one") for name, text in FILES.items()}
    with pytest.raises(PolicyError) as caught:
        load(broken)
    assert [one.file for one in caught.value.diagnostics] == ["tenant.yaml", "market/de.yaml", "company.yaml"]


def test_what_is_extended_twice_counts_once_and_in_any_order() -> None:
    """A policy reached on two ways is read once, and the order of `extends` changes nothing."""
    one = {**FILES, "tenant.yaml": TENANT.replace("market/de.yaml", "market/de.yaml, company.yaml")}
    other = {**FILES, "tenant.yaml": TENANT.replace("market/de.yaml", "company.yaml, market/de.yaml")}
    assert load(one).digest == load(other).digest == load(FILES).digest


def test_a_layer_in_shadow_keeps_to_its_own_rules() -> None:
    """`mode: shadow` of one file holds for its rules and not for those that it extends."""
    policy = load({**FILES, "tenant.yaml": TENANT + "mode: shadow\n"})
    assert (refused(policy, "gun"), refused(policy, "knife")) == (True, False)


def test_layers_are_for_one_base() -> None:
    """Layers for different base models do not add up."""
    with pytest.raises(PolicySemanticError, match="different bases"):
        load({**FILES, "tenant.yaml": TENANT + "base: other\n"})


def test_a_base_model_must_come_from_somewhere() -> None:
    """If no layer names a base model, the one that extends nothing is told to."""
    with pytest.raises(PolicySyntaxError, match=r"company.yaml: 1 problem\ncompany.yaml:1:1: `base` is missing"):
        load({**FILES, "company.yaml": COMPANY.replace("base: sticker\n", "")})


def test_a_concept_is_named_once_in_a_file() -> None:
    """Only another file adds words to a concept; the same name twice in one file, or another category, is an error."""
    known = "  - {name: gun, category: weapon, phrases: [gun]}\n"
    with pytest.raises(PolicySemanticError, match=r"company.yaml:8:12: `gun` is already taken"):
        load({**FILES, "company.yaml": COMPANY.replace(known, known * 2)})
    with pytest.raises(PolicySemanticError, match=r"de.yaml:7:12: `gun` is already taken"):
        load({**FILES, "market/de.yaml": MARKET.replace("category: weapon", "category: toy")})


def test_layers_agree_on_what_is_recorded() -> None:
    """`records` may stand in one layer and holds for all; two layers that differ are an error."""
    sealed = {**FILES, "company.yaml": COMPANY + "records: {prompts: sealed}\n"}
    assert (load(FILES).records.prompts, load(sealed).records.prompts) == ("commitment", "sealed")
    with pytest.raises(PolicySemanticError, match="different records"):
        load({**sealed, "tenant.yaml": TENANT + "records: {prompts: commitment}\n"})
