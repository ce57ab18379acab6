"""The command, the config file, the composition root and the demo."""
