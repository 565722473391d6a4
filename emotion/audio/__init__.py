"""From waveforms to what an audio branch takes, and their variation in training."""
