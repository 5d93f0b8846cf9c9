"""Official files into a TFDS folder: `doa data build`."""
