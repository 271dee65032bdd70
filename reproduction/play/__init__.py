"""The interactive page for playing with the trained agents: their export, and the page itself (`page/`)."""
