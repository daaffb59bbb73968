"""The pages of single things: one request, one entry with its proof, one image, and their downloads."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from safegen.ledger import Entry
from safegen.serve.console.context import Console
from safegen.serve.console.proof import Proof, prove
from safegen.serve.console.story import read_chapter, tell
from safegen.serve.console.view import ViewOf

router = APIRouter(include_in_schema=False)
Number = Annotated[int, Query(ge=0, lt=2**62)]
RequestId = Annotated[str, Query(max_length=400)]
_MOST_ENTRIES = 400
"""Entries of one request that its page shows; an honest one has far fewer."""


@router.get("/request")
def request_page(request: Request, view: ViewOf, id: RequestId, *, verify: bool = False) -> Response:  # noqa: A002
    """The story of one request, with the proofs of its entries if they are asked for."""
    entries = _entries(view.console, id)
    shown = entries[:_MOST_ENTRIES]
    story = tell(id, shown)
    proofs = {entry.index: prove(view.console.reader, entry, view.console.key) for entry in shown} if verify else {}
    return view.page(request, "request.html.j2", story=story, proofs=proofs, cut=len(entries) > _MOST_ENTRIES)


@router.get("/request.json")
def request_json(view: ViewOf, id: RequestId) -> Response:  # noqa: A002
    """All entries of a request, byte for byte where they can be read."""
    shown = []
    for entry in _entries(view.console, id):
        chapter = read_chapter(entry)
        record = json.loads(entry.body) if chapter.condition == "whole" else None
        shown.append(
            {"index": entry.index, "leaf_hash": chapter.leaf, "condition": chapter.condition, "record": record}
        )
    return _attachment(json.dumps(shown, indent=2).encode(), "application/json", "request.json")


@router.get("/entry")
def entry_page(request: Request, view: ViewOf, n: Number) -> Response:
    """One entry and the proof that it is in the ledger."""
    entry = _entry(view.console, n)
    proof = prove(view.console.reader, entry, view.console.key)
    return view.page(request, "entry.html.j2", chapter=read_chapter(entry), proof=proof, request_id=_owner(proof))


@router.get("/entry.json")
def entry_json(view: ViewOf, n: Number) -> Response:
    """The very bytes of an entry."""
    entry = _entry(view.console, n)
    if not entry.body:
        raise HTTPException(404, "The record was pruned; its hash is kept.")
    return _attachment(entry.body, "application/json", f"entry-{n}.json")


@router.get("/entry.tlog-proof")
def entry_proof(view: ViewOf, n: Number) -> Response:
    """The proof of an entry, for other tools."""
    proof = prove(view.console.reader, _entry(view.console, n), view.console.key)
    if proof.receipt is None:
        raise HTTPException(404, f"There is no proof: {proof.problem}.")
    text = proof.receipt.to_tlog_proof().encode()
    return _attachment(text, "text/plain; charset=utf-8", f"entry-{n}.tlog-proof")


@router.get("/image")
def image(view: ViewOf, sha256: Annotated[str, Query(pattern="^[0-9a-f]{64}$")]) -> Response:
    """An image of the folder."""
    found = view.console.images.read(sha256) if view.console.images is not None else None
    if found is None:
        raise HTTPException(404, "No file of the folder has that digest.")
    content, media_type = found
    return Response(content, media_type=media_type, headers={"Cache-Control": "private, max-age=3600"})


def _entries(console: Console, request_id: str) -> list[Entry]:
    entries = console.reader.find(request_id)
    if not entries:
        raise HTTPException(404, "The ledger knows no such request.")
    return entries


def _entry(console: Console, number: int) -> Entry:
    entry = next(console.reader.entries(number, number + 1), None)
    if entry is None or entry.index != number:
        raise HTTPException(404, f"The ledger has no entry {number}.")
    return entry


def _owner(proof: Proof) -> str | None:
    return proof.receipt.request_id if proof.receipt is not None else None


def _attachment(content: bytes, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)
