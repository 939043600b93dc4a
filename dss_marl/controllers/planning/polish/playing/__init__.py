"""Plans of a day played: many at once on the batched engine, the best on OpenDSS."""
