"""`safegen audit replay`: draw a request again from its records.

Invariants: writes nothing to the ledger; a text that the ledger does not commit to is not drawn. Exit codes: 0 the same
bits, 1 other bits or an error.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safegen.cli.audit_options import ERROR, AsJson, Folder, fail
from safegen.errors import SafegenError
from safegen.safe_text import plain

if TYPE_CHECKING:
    from PIL.Image import Image

    from safegen.guard.replay import Redrawn, Replay, Story


def replay(
    ledger: Folder,
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The request.")],
    prompt: Annotated[str | None, typer.Option(help="What was asked, where it is not sealed in the ledger.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy of the request, where it took words out.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of REQUEST_ID-N.png: measure the distance to them.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write what is drawn to.")] = None,
    *,
    bare: Annotated[bool, typer.Option("--bare", help="Draw once more without any adapter.")] = False,
    as_json_: AsJson = False,
) -> None:
    """Draw a request again: the same bits, or how far from them, and what is not as it was."""
    from safegen.guard.replay import Story, replay
    from safegen.ledger import LedgerKeys, LedgerReader
    from safegen.ledger.folder import KEYS_FILE
    from safegen.spm import Registry

    try:
        with LedgerReader.open_read_only(ledger) as reader:
            story = Story.of(request_id, [entry.record for entry in reader.find(request_id) if entry.body])
        commit = LedgerKeys.load(ledger / KEYS_FILE).commit
        texts = _texts(ledger, story, prompt, negative_prompt)
        if policy is not None:
            texts = _as_drawn(policy, story, texts[0]), texts[1]
        story.check_prompt(*texts, commit)
        found = replay(story, Registry.open(), *texts, originals=_originals(images, request_id), bare=bare)
        if out is not None:
            _write(out, found)
    except OSError as error:
        fail(SafegenError(f"cannot write the pictures: {error.strerror}", where=str(out)))
    except SafegenError as error:
        fail(error)
    if as_json_:
        typer.echo(json.dumps(_json(found), indent=2))
    else:
        _render(found)
    if not found.same:
        raise typer.Exit(ERROR)


def _texts(ledger: Path, story: Story, prompt: str | None, negative_prompt: str | None) -> tuple[str, str]:
    """What was asked: as given, else as sealed in the ledger."""
    from safegen.ledger import PromptKeys

    requested, keys = story.requested, PromptKeys(ledger)
    if prompt is None and requested.sealed_prompt is not None:
        prompt = keys.open(requested.request_id, "prompt", requested.sealed_prompt)
    if negative_prompt is None and requested.sealed_negative_prompt is not None:
        negative_prompt = keys.open(requested.request_id, "negative_prompt", requested.sealed_negative_prompt)
    if prompt is None:
        raise SafegenError("the ledger has no prompt that can be read", hint="give it with --prompt")
    return prompt, negative_prompt or ""


def _as_drawn(path: Path, story: Story, prompt: str) -> str:
    """The prompt without what the policy takes out of it."""
    from datetime import date

    from safegen.policy import PromptRequest, decide, load_policy_file

    policy, recorded = load_policy_file(path), story.requested.policy
    if policy.digest != recorded.digest:
        raise SafegenError(f"the policy's digest is {policy.digest}, the record's {recorded.digest}", where=str(path))
    audience = story.requested.audience
    stated = {"tenant": audience.tenant, "market": audience.market, "age_gate": audience.age_gate} if audience else {}
    asked = PromptRequest.model_validate({**stated, "prompt": prompt})
    return decide(policy, asked, now=date.fromisoformat(story.decided.time[:10])).prompt


def _originals(folder: Path | None, request_id: str) -> dict[int, Image]:
    from PIL import Image, UnidentifiedImageError

    found = {}
    for path in folder.glob(f"{request_id}-*.png") if folder else ():
        number = path.stem.removeprefix(f"{request_id}-")
        try:
            with Image.open(path) as picture:
                found[int(number)] = picture.convert("RGB")
        except (OSError, ValueError, UnidentifiedImageError) as error:
            raise SafegenError(f"not a picture of this request: {error}", where=str(path)) from error
    return found


def _write(folder: Path, found: Replay) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, drawn in (("replay", found.images), ("bare", found.bare)):
        for one in drawn:
            one.picture.save(folder / f"{found.request_id}-{one.image}-{kind}-{one.attempt}.png")


def _json(found: Replay) -> dict[str, Any]:
    return {
        "request_id": found.request_id,
        "same": found.same,
        "differences": [
            {"what": one.what, "recorded": one.recorded, "here": one.here, "blocks": one.blocks}
            for one in found.differences
        ],
        "images": [_image_json(one) for one in found.images],
        "bare": [_image_json(one) for one in found.bare],
    }


def _image_json(one: Redrawn) -> dict[str, Any]:
    return {
        "attempt": one.attempt, "image": one.image, "seed": one.seed, "recorded_sha256": one.recorded,
        "sha256": one.digest, "same": one.same, "distance": one.distance,
    }  # fmt: skip


def _render(found: Replay) -> None:
    for one in found.differences:
        typer.echo(f"{plain(one.what)}: recorded {plain(one.recorded)}, here {plain(one.here)}")
    for kind, drawn in (("", found.images), ("without adapters, ", found.bare)):
        for image in drawn:
            far = "" if image.distance is None else f", 1 - SSIM to the original {image.distance:.4f}"
            says = "the same bits" if image.same else f"other bits: recorded {image.recorded}, here {image.digest}"
            typer.echo(f"{kind}attempt {image.attempt}, image {image.image}: {says}{far}")
    if not found.images:
        typer.echo("not drawn: the model or an adapter is not the one of the record")
