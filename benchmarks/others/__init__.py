"""Programs that time other tools, each run by an interpreter of its own."""
