"""What checks the paper. `dmash_core` never imports it, but for the commands that start it."""
