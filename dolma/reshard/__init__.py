"""Token shards made of token shards, without encoding again: `dolma tokenize mix` and `dolma tokenize reshard`."""
