"""The ledger on more than one plain Redis: Cluster, Sentinel, TLS, and a user of the least rights."""
