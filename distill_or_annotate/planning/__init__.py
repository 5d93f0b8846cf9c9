"""What should the next dollar buy? Curves, a prior from the paper, and the purchases that a budget allows."""
