"""Other networks than the U-Net of model.py, for the same loop, metrics and checkpoints."""
