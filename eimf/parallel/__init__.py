"""Training shared by several processes: their group, and an item table spread over them."""
