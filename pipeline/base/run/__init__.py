"""The one loop and what it talks to: progress, tracking, devices, the console."""
