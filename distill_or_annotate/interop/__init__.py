"""Models in and out: safetensors files and T5X checkpoint folders."""
