"""Every knob of every stage, declared once, with help and bounds; loads no torch."""
