"""Live video: a source's frames, segmented, steadied, drawn, shown and recorded."""
