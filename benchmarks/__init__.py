"""Our code against NetKet in one run: same lattice, batch, precision and threads, repeats interleaved."""
