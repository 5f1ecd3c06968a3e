"""`doctor`: looks at everything a run relies on, before a run does; changes nothing anywhere."""
