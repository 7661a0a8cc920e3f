"""Deep Vision Transformer with factored attention."""
