"""Planning of volt-var control: inverters, taps and capacitors."""
