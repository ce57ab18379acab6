"""The `sitelatch` command, its config file, the composition root and the demo."""
