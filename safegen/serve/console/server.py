"""Serving the console: which addresses it takes, and how it tells its user the way in.

Invariants: nothing but a loopback address is taken unless the caller says so by name; the token goes to the terminal
in the fragment of an address, which browsers keep to themselves, and to no log.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

from safegen.errors import ConsoleError
from safegen.serve.console.app import create_app
from safegen.serve.console.context import Console
from safegen.serve.console.security import Sessions

_GOODBYE_SECONDS = 3


def serve(
    console: Console,
    *,
    host: str = "127.0.0.1",
    port: int = 8717,
    allow_remote: bool = False,
    names: tuple[str, ...] = (),
    announce: Callable[[str], None],
) -> None:
    """Serve a console until it is interrupted.

    Args:
        console: what to show.
        host: the address to listen at.
        port: 0 for any that is free.
        allow_remote: whether an address that other machines reach is taken.
        names: further host names (or name:port) that browsers may call the console by, e.g. behind a proxy.
        announce: called with the address to open, and again with a new one each time that one was used.

    Raises:
        ConsoleError: the address may not, or cannot, be taken; or a package is missing.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise ConsoleError("the console needs uvicorn", hint="pip install 'safegen[serve]'") from error
    if not allow_remote and not is_loopback(host):
        raise ConsoleError(
            f"{host} can be reached from other machines",
            hint="use an SSH tunnel to 127.0.0.1, or say --allow-remote and put TLS in front",
        )
    listening = _listen(host, port)
    bound = listening.getsockname()[1]
    address = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
    sessions = Sessions(lambda token: announce(f"{address}/login#{token}"))
    app = create_app(console, sessions=sessions, hosts=allowed_hosts(host, bound, names))
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
    )
    announce(f"{address}/login#{sessions.token}")
    with listening:
        uvicorn.Server(config).run(sockets=[listening])


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed_hosts(host: str, port: int, names: tuple[str, ...] = ()) -> frozenset[str]:
    """The Host headers that are answered: the loopback names, the address itself, and what was named."""
    own = {"127.0.0.1", "localhost", "[::1]"}
    if not _is_any(host):
        own.add(f"[{host}]" if ":" in host else host.lower())
    return frozenset({f"{name}:{port}" for name in own} | {name.lower() for name in names})


def _is_any(host: str) -> bool:
    """Whether the address stands for all addresses of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
        listening.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # else a page waits 40 ms for its own second half
        return listening  # noqa: TRY300 - the way on is the only one that ends well
    except OSError as error:
        raise ConsoleError(
            f"cannot listen at {host}:{port}: {error.strerror or error}", hint="choose another with --port"
        ) from error
