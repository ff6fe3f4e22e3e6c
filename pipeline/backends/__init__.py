"""What the machine lends: engines, models, devices."""
