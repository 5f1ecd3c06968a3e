"""The pure heart: records, evidence, policies. No I/O, clock, global randomness or logging."""
