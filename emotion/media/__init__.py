"""Media files in and out: frames with their own timestamps, a waveform, and annotated video with its sound."""
