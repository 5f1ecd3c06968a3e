"""What a run leaves on disk: the journal of its events."""
