"""What a model can be exported to: a file or a folder each, with its record, `export` and `load`."""
