"""One document of a corpus: where it stands, what is known of it, and what became of it."""
