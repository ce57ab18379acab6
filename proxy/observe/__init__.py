"""Metrics, the access log, probes."""
