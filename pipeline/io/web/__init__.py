"""HTTP: a guarded, rate-limited client of public APIs and picture hosts."""
