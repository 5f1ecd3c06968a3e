"""What must be undone and how: faults, their names, addresses, steps and commands by hand.

Standard library only: the watchdog process imports this without the rest of the package.
"""
