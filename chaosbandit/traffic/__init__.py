"""Open-loop probing: requests go out at times fixed beforehand, and every one is accounted for."""
