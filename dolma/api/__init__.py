"""The functions and classes behind `import dolma`; their names are listed in `dolma/__init__.py`."""
