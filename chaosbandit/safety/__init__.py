"""Nothing is left behind: the fault ledger, the watchdog process, locks and the kill switch."""
