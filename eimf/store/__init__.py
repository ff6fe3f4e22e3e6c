"""The content-addressed artifact store: keys, manifests, atomic writes, and the append-only reply store."""
