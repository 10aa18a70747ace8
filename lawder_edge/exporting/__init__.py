"""From a trained network to a verified bundle: what is the same whichever target writes the file."""
