"""How fast the system is, measured beside what the engine alone can do: `python -m benchmarks.bench`."""
