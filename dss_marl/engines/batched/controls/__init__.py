"""The circuit's own regulator and capacitor controls for many copies; ``circuit_controls`` first."""
