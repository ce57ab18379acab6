"""The checks of `sitelatch doctor`, which finds problems of an installation and says how to fix them."""
