"""Products of one sensor, or one provider: a reader each."""
