"""What notebooks 05, 06 and 07 compare: runs, their records, every score of a network, tables."""
