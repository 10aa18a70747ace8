"""Where a page is served, as a person types it."""

from __future__ import annotations

import ipaddress

from lawder_edge.errors import BadInput


def parse_address(text: str) -> tuple[str, int]:
    """`127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, or a port alone, which is that of this machine only.

    Returns: host and port; port 0 takes a free one. Raises BadInput.
    """
    host, _, port = text.rpartition(":") if ":" in text else ("127.0.0.1", "", text)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise BadInput(f"--serve {text}: wanted an address and a port, such as 127.0.0.1:8080")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
