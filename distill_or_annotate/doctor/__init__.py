"""What is installed and within reach here, and how to mend the rest."""
