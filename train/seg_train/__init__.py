"""Training: from image and mask folders to one checkpoint that carries its whole contract."""
