"""Where the page and the service listen, whom they believe, and the folder that is theirs while they run."""

import contextlib
import ipaddress
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emotion.errors import ConfigError
from emotion.files import lent_folder

LOCAL_HOST = "127.0.0.1"
MAX_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where to listen.

    Attributes:
        host, port: port 0 takes any free one.
        allowed_hosts: names of the server besides those that this computer gives itself.
        trusted_proxies: addresses, or networks, whose word on who asks, and under which name, is believed.
    """

    host: str
    port: int
    allowed_hosts: tuple[str, ...]
    trusted_proxies: tuple[str, ...]

    def __post_init__(self):
        if not 0 <= self.port <= MAX_PORT:
            raise ConfigError(f"--port must lie in 0 to {MAX_PORT}, got {self.port}.")
        if ":" in self.host:
            raise ConfigError(f"--host {self.host}: IPv6 is not supported; give an IPv4 address or a name.")
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ConfigError(
                    f"--trusted_proxies {proxy}: is no address and no network ({error}). Give one such as 127.0.0.1 or "
                    "10.0.0.0/8."
                ) from error

    @property
    def is_local(self) -> bool:
        """Whether only this computer can reach the server."""
        return self.host == "localhost" or self.host.startswith("127.")

    def free_port(self) -> int:
        """Finds the port to listen on.

        Raises:
            ConfigError: if this computer cannot listen there.
        """
        with self.bound() as probe:
            return probe.getsockname()[1]

    def bound(self) -> socket.socket:
        """Returns a socket at the address, which does not listen yet; errors as for ``free_port``."""
        probe = socket.socket()
        if os.name != "nt":  # where it would let two programs listen on one port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((self.host, self.port))
        except (OSError, ValueError) as error:  # the latter: a name that cannot be one
            probe.close()
            raise self.cannot_listen() from error
        return probe

    def cannot_listen(self) -> ConfigError:
        return ConfigError(
            f"--host {self.host} --port {self.port}: cannot listen there. Is the address this computer's, and the port "
            "free? Choose another port, or 0 for any."
        )


def check_positive(request: object, *names: str) -> None:
    """Makes sure that these limits of a request are finite numbers above 0.

    Raises:
        ConfigError: if one is not.
    """
    for name in names:
        if not 0 < getattr(request, name) < float("inf"):
            raise ConfigError(f"--{name} must be above 0, got {getattr(request, name):g}.")


@contextlib.contextmanager
def own_folder(kind: str) -> Iterator[Path]:
    """Lends a folder as ``lent_folder`` does; uploads that may never be whole grow in it, too."""
    with lent_folder(kind) as folder:
        before, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = before
