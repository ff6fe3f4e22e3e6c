"""The stages of the flow table: how each artifact is configured, built and looked up."""
