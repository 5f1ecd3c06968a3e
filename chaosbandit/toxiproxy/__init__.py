"""Toxiproxy, both sides of it: the wire format, an embedded server and a client for any server."""
