"""A text encoder adapted to behaviour: texts of items that follow each other in training get similar vectors."""
