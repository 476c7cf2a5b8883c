"""How fast the platform is here: `just bench`, beside the machine's own limits and beside its peers."""
