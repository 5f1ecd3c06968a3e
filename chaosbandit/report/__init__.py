"""What people and machines are told of a run: one result model, its texts, and the live view."""
