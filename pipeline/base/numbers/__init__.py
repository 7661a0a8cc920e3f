"""Results, statistics, random numbers, numbers as text."""
