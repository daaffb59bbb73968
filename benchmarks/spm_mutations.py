"""Mutated SPM files, each a function of a good file and a number."""

from __future__ import annotations

import json
import pickle
import random
import struct
from collections.abc import Callable
from typing import Any

Header = dict[str, Any]


def split(content: bytes) -> tuple[Header, bytes]:
    """Header and data of a good file."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: object, data: bytes, *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


# ---- mutations of bytes


def flip_bits(content: bytes, rng: random.Random) -> bytes:
    found = bytearray(content)
    for _ in range(rng.choice([1, 2, 8, 64])):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def flip_header(content: bytes, rng: random.Random) -> bytes:
    found = bytearray(content)
    end = 8 + int.from_bytes(content[:8], "little")
    for _ in range(rng.choice([1, 2, 8])):
        found[rng.randrange(end)] = rng.choice([rng.randrange(256), *b'"{}[],:0123456789-.e'])
    return bytes(found)


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.choice([rng.randrange(9), rng.randrange(len(content)), len(content) - rng.randrange(1, 9)])]


def append(content: bytes, rng: random.Random) -> bytes:
    return content + rng.randbytes(rng.choice([1, 4, 8, 1000]))


def overwrite(content: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(content)), rng.randrange(1, 400)
    block = rng.choice([bytes(size), b"\xff" * size, rng.randbytes(size)])
    return (content[:at] + block + content[at + size :])[: len(content)]


def move(content: bytes, rng: random.Random) -> bytes:
    one, other = sorted(rng.sample(range(len(content)), 2))
    return content[:one] + content[other:] + content[one:other]


def claim_length(content: bytes, rng: random.Random) -> bytes:
    header, data = split(content)
    text = json.dumps(header).encode()
    lengths = [0, 1, len(text) - 1, len(text) + 1, len(content), 1 << 31, 1 << 62, (1 << 64) - 1, rng.getrandbits(64)]
    return joined(text, data, length=rng.choice(lengths))


def other_file(content: bytes, rng: random.Random) -> bytes:
    return rng.choice(
        [
            b"",
            rng.randbytes(rng.randrange(2000)),
            pickle.dumps({"lora": list(range(rng.randrange(500)))}),
            b"PK\x03\x04" + rng.randbytes(500),
            content[8:],
            b"{" * rng.randrange(1, 100_000),
            joined(b'{"a":' * rng.randrange(1, 100_000), b""),
            joined(b"[" * rng.randrange(1, 100_000), b""),
            joined(b"9" * rng.randrange(1, 50_000), b""),
        ]
    )


# ---- mutations of the header


def _entries(content: bytes, rng: random.Random) -> tuple[Header, bytes, str]:
    header, data = split(content)
    return header, data, rng.choice([key for key in header if key != "__metadata__"])


_ODD: list[Any] = [
    None, True, -1, 0, 1, 1.5, 1 << 40, 1 << 70, "", "F32", [], [0], [1, 1], [1 << 62, 0], [0, *[1 << 62] * 3], [-1],
    [True], [1.0], ["1"], [[1]], [1] * 5, {}, {"a": 1}, [None, None],
]  # fmt: skip


def odd_value(content: bytes, rng: random.Random) -> bytes:
    header, data, key = _entries(content, rng)
    field = rng.choice(["dtype", "shape", "data_offsets"])
    header[key][field] = rng.choice([*_ODD, "F16", "BF16", "F64", "I64", "BOOL", "F8_E4M3"])
    return joined(header, data)


def odd_entry(content: bytes, rng: random.Random) -> bytes:
    header, data, key = _entries(content, rng)
    header[rng.choice([key, "__metadata__", "x", ""])] = rng.choice([*_ODD, {"dtype": "F32"}])
    return joined(header, data)


def odd_metadata(content: bytes, rng: random.Random) -> bytes:
    header, data, _ = _entries(content, rng)
    stated = ["family", "rank", "alpha", "concept", "ss_network_alpha", "lora_adapter_metadata", "alpha_tensors"]
    values = [
        "",
        "-1",
        "0",
        "1",
        "NaN",
        "inf",
        "9" * 9999,
        "\u0662",
        "sdxl",
        "{",
        "[]",
        "{}",
        '{"unet.lora_alpha": "x"}',
    ]
    for key in rng.sample(stated, 3):
        header["__metadata__"][key] = rng.choice(values)
    if rng.random() < 0.2:
        header["__metadata__"]["rank"] = rng.choice(_ODD)
    return joined(header, data)


def other_family(content: bytes, rng: random.Random) -> bytes:
    """All layers under names, or of a text width, of another family."""
    header, data = split(content)
    metadata = header.pop("__metadata__") | rng.choice([{}, {"family": "sdxl"}, {"family": ""}])
    old, new = rng.choice(
        [
            ("lora_unet_", "lora_transformer_transformer_blocks_0_"),
            ("lora_unet_", "lora_transformer_single_transformer_blocks_0_"),
            ("_transformer_blocks_0_", "_transformer_blocks_1_"),
        ]
    )
    return joined({"__metadata__": metadata} | {key.replace(old, new): entry for key, entry in header.items()}, data)


def shift_offsets(content: bytes, rng: random.Random) -> bytes:
    header, data, key = _entries(content, rng)
    header[key]["data_offsets"][rng.randrange(2)] += rng.choice([-8, -4, -1, 1, 4, 8, len(data), -len(data)])
    return joined(header, data)


def reshape(content: bytes, rng: random.Random) -> bytes:
    header, data, key = _entries(content, rng)
    shape = header[key]["shape"]
    rng.shuffle(shape)
    header[key]["shape"] = rng.choice(
        [shape, shape[::-1], [*shape, 1], [1, *shape], shape[1:], [*shape[:1], 1, *shape[1:]]]
    )
    return joined(header, data)


def twin(content: bytes, rng: random.Random) -> bytes:
    header, data, key = _entries(content, rng)
    text = json.dumps(header)
    return joined((text[:-1] + f", {json.dumps(key)}: {json.dumps(header[key])}}}").encode(), data)


def rename(content: bytes, rng: random.Random) -> bytes:
    header, data, key = _entries(content, rng)
    layer, _, part = key.partition(".")
    others = [
        "", ".", f"{layer}_x.{part}", f"{layer}.dora_scale", f"{layer}.hada_w1_a", f"lora_te_{layer}.{part}",
        f"x.{key}", key.replace("lora_unet", "lora_transformer"),
        key.replace("lora_unet_", "lora_unet_input_blocks_4_1_"), f"unet.{part}",
        key.replace("lora_down", "lora_up"), f"{layer}.{part}.{part}", "\u0000", "x" * 5000,
    ]  # fmt: skip
    renamed = rng.choice(others)
    return joined({renamed if name == key else name: entry for name, entry in header.items()}, data)


# ---- mutations of tensors


def rebuilt(content: bytes, change: Callable[[dict[str, tuple[list[int], bytes]]], None]) -> bytes:
    """The file with other tensors, laid out again, so that nothing but the tensors is wrong."""
    header, data = split(content)
    metadata = header.pop("__metadata__", {})
    tensors = {key: (entry["shape"], data[slice(*entry["data_offsets"])]) for key, entry in header.items()}
    change(tensors)
    made: Header = {"__metadata__": metadata}
    parts, at = [], 0
    for key, (shape, raw) in tensors.items():
        made[key] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at := at + len(raw)]}
        parts.append(raw)
    return joined(made, b"".join(parts))


def drop_tensors(content: bytes, rng: random.Random) -> bytes:
    def change(tensors: dict[str, tuple[list[int], bytes]]) -> None:
        part = rng.choice(["", "alpha", "lora_up", "lora_down"])
        keys = [key for key in tensors if part in key]
        for key in rng.sample(keys, rng.choice([1, 2, len(keys)])):
            del tensors[key]

    return rebuilt(content, change)


def odd_floats(content: bytes, rng: random.Random) -> bytes:
    def change(tensors: dict[str, tuple[list[int], bytes]]) -> None:
        key = rng.choice(list(tensors))
        shape, raw = tensors[key]
        at = 4 * rng.randrange(len(raw) // 4)
        value = rng.choice([float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 3e38, 1e-45])
        tensors[key] = shape, raw[:at] + struct.pack("<f", value) + raw[at + 4 :]

    return rebuilt(content, change)


def odd_rank(content: bytes, rng: random.Random) -> bytes:
    def change(tensors: dict[str, tuple[list[int], bytes]]) -> None:
        layer = rng.choice(list(tensors)).partition(".")[0]
        for part in rng.choice([["lora_down.weight"], ["lora_up.weight"], ["lora_down.weight", "lora_up.weight"]]):
            shape, raw = tensors[f"{layer}.{part}"]
            axis, times = int("up" in part), rng.choice([0, 2, 3])
            wider = [size * times if index == axis else size for index, size in enumerate(shape)]
            tensors[f"{layer}.{part}"] = wider, raw * times

    return rebuilt(content, change)


def odd_width(content: bytes, rng: random.Random) -> bytes:
    def change(tensors: dict[str, tuple[list[int], bytes]]) -> None:
        key = rng.choice([key for key in tensors if "alpha" not in key])
        shape, raw = tensors[key]
        axis = rng.randrange(len(shape))
        tensors[key] = [size * 2 if index == axis else size for index, size in enumerate(shape)], raw * 2

    return rebuilt(content, change)


def add_tensor(content: bytes, rng: random.Random) -> bytes:
    def change(tensors: dict[str, tuple[list[int], bytes]]) -> None:
        layer = rng.choice(["lora_unet_x", "lora_te_x", "lora_transformer_transformer_blocks_0_attn_to_q", "x"])
        for part in rng.sample(["lora_down.weight", "lora_up.weight", "lora_mid.weight", "diff"], 2):
            tensors[f"{layer}.{part}"] = [1, 1], bytes(4)

    return rebuilt(content, change)


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip_bits, flip_header, truncate, append, overwrite, move, claim_length, other_file, odd_value, odd_entry,
    odd_metadata, other_family, shift_offsets, reshape, twin, rename, drop_tensors, odd_floats, odd_rank, odd_width,
    add_tensor,
)  # fmt: skip


def mutate(content: bytes, number: int) -> tuple[str, bytes]:
    """The name of the mutation and the mutated file, a function of the number alone."""
    rng = random.Random(number)
    mutation = MUTATIONS[number % len(MUTATIONS)]
    changed = mutation(content, rng)
    if rng.random() < 0.1:  # now and then two in turn
        changed = flip_bits(changed, rng) if changed else changed
    return mutation.__name__, changed
