"""Neural importance resampling (Ledinauskas and Anisimovas, Mach. Learn.: Sci. Technol. 7, 015020 (2026))."""
