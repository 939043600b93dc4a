"""Other libraries; nothing below imports this package."""
