"""The subcommands of `sitelatch`, one file per group."""
