"""Tests of sql/dsn/."""
