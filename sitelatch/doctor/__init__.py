"""The checks of `sitelatch doctor`, which says what is wrong with an installation, and how to fix it."""
