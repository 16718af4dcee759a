"""What every node does the same way: parameters, diagnostics, message conversion, starting and stopping."""
