"""Neural importance resampling: a practical sampling strategy for neural quantum states."""
