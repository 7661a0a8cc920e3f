"""PixelCNN, the NAQS paper's autoregressive state on rectangular lattices."""
