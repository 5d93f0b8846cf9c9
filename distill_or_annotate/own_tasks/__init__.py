"""Above the three wings: turns a user's table into a task file, gin files and prices that the user owns."""
