"""Wave-function ansätze, one a file. Input: spins ±1 of shape (B, N)."""
