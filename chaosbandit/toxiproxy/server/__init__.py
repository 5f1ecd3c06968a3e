"""The embedded Toxiproxy server: the real one's API and toxics, in Python and on one event loop."""
