"""Training and judging fastText classifiers: `dolma classifier`."""
