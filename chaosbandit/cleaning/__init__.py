"""`clean`: removes what runs left behind, from any process, with or without their ledger."""
