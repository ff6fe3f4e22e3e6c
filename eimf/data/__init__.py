"""From raw events and an item table to the `dataset` artifact."""
