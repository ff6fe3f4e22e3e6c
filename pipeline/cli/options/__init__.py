"""Arguments and options of the commands, each declared once."""
