"""Where pairs of image and mask come from."""
