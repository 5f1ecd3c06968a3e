"""What a run will cost before anything is injected: campaigns simulated over plausible curves."""
