"""Nothing is left behind: the fault ledger, the watchdog process, restoring and cleaning."""
