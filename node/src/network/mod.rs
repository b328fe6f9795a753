//! libp2p: registered peers only, direct streams for what must arrive, gossip for batches and final headers.
