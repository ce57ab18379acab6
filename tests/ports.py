"""Free ports on the loopback interface, for programs that tests start."""

import atexit
import socket


def free_port() -> int:
    """Return a port that stays reserved while this process runs.

    A socket that never listens stays bound to the port, so that the kernel does not assign it to another program.
    Servers set SO_REUSEADDR, so they can listen on it. Until one does, connections are refused.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    atexit.register(sock.close)
    port: int = sock.getsockname()[1]
    return port
