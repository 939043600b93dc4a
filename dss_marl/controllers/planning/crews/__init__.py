"""Planning of repair crews after a storm."""
