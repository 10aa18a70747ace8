"""Whether this installation works, and what to install where it does not."""
