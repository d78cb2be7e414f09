"""What goes in and comes out: values, and the errors."""
