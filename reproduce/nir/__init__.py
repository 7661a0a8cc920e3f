"""Neural importance resampling: a practical sampling strategy for neural quantum states."""

TITLE = "Neural importance resampling: a practical sampling strategy for neural quantum states"
AUTHORS = "E. Ledinauskas, E. Anisimovas"
WHERE = "Mach. Learn.: Sci. Technol. 7, 015020 (2026)"
