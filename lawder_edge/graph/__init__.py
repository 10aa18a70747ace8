"""A small typed NHWC graph: what TFLite and C are written from, and its arithmetic in numpy."""
