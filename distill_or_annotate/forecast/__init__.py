"""What a step would take, said before any accelerator is rented."""
