"""What people fetch and taggers use: models, tokenizers and lists, read as data and checked."""
