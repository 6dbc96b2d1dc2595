"""Compare conditions: shares of domains and expression within them, over sections or donors."""
