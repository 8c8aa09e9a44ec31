"""What the notebooks of "U-Net, step by step" share: data, model, metrics, training, figures, widgets."""
