"""What a task's data hold, and what to mend: `doa data check`."""
