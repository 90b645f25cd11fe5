"""Questions about a corpus that has been made: one document, two versions, a dataset card, a report."""
