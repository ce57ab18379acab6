"""A hostile generator against real backends: whatever passes the front door is replayed to a real server."""
