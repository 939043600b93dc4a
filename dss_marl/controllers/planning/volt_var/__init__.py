"""Plans of inverters, taps and capacitors."""
