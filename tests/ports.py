"""Ports of loopback for programs that tests start."""

import atexit
import socket


def free_port() -> int:
    """A port that nobody else gets while this process lives.

    A socket that never listens stays bound to it, so the kernel gives it to nobody, however long after this a server
    begins. Servers set SO_REUSEADDR and may listen there; where none does, connections are refused.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    atexit.register(sock.close)
    port: int = sock.getsockname()[1]
    return port
