"""The page on which a reader plays with the trained agents: their export, and the page itself (`page/`)."""
