//! What an outsider runs: receipt, entry, checkpoint, seals, authority set, genesis.
