"""Checks the claims of the paper. `dmash_core` never imports this package."""
